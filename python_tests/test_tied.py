"""Weights with two uses, a linear map's and a table's: both count in calibration."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import vaecomp_native as vc  # noqa: E402
from vaecomp_native.calibration.interception import find_linear_maps  # noqa: E402
from vaecomp_native.calibration.sensitivity import Sensitivity  # noqa: E402
from vaecomp_native.compression import fit as fit_module  # noqa: E402
from vaecomp_native.compression.calibrated import _of_both_uses  # noqa: E402
from vaecomp_native.compression.encoder import Encoder, Encoding  # noqa: E402
from vaecomp_native.progress import Progress  # noqa: E402

from .measured import sensitivities  # noqa: E402

WORDS, WIDTH = 120, 16


class Model(nn.Module):
    """Predicts words from the sum of words so far, by a table that its head may share."""

    def __init__(self, *, tied: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(WORDS, WIDTH)
        self.inner = nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, WORDS, bias=False)
        if tied:
            self.head.weight = self.table.weight

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        hidden = self.table(words).cumsum(1) / words.shape[1] ** 0.5
        return self.head(torch.tanh(self.inner(hidden)))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def batches(count: int, *, seed: int = 1, words: int = WORDS) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, words, (8, 12), generator=generator) for _ in range(count)]


def divergence(module: nn.Module, other: nn.Module) -> float:
    """KL of what two modules predict for fresh words."""
    with torch.no_grad():
        words = torch.cat(batches(8, seed=2))
        before, now = module(words).log_softmax(-1), other(words).log_softmax(-1)
    return float((before.exp() * (before - now)).sum(-1).mean())


def decoded(module: nn.Module, path: Path, *, tied: bool) -> nn.Module:
    loaded = Model(tied=tied)
    vc.load_into(loaded, path)
    return loaded


def test_rows_that_are_looked_up_are_known() -> None:
    module = Model(tied=True)
    data = batches(4, words=WORDS // 2)
    maps = find_linear_maps(module, data[0])
    found = sensitivities(module, data, maps, divergence="kl")
    lookups = found["table"].lookups
    assert lookups is not None and (lookups[: WORDS // 2] > 0).all()
    assert not lookups[WORDS // 2 :].any()
    assert found["inner"].lookups is None


def test_a_table_of_its_own_is_no_part_of_the_head() -> None:
    module = Model(tied=False)
    data = batches(2)
    found = sensitivities(module, data, find_linear_maps(module, data[0]), divergence="kl")
    assert all(one.lookups is None for one in found.values())


def test_squared_gradients_of_lookups_are_those_of_their_positions() -> None:
    """With one word a sample, the table's own gradient is that of the lookup."""
    module = Model(tied=True)
    words = torch.arange(WORDS)[:, None]
    maps = find_linear_maps(module, words)
    found = sensitivities(module, [words], maps, divergence="mse", probes=400)["table"].lookups
    assert found is not None
    table = module.table.weight.detach()

    def outputs(row: torch.Tensor) -> torch.Tensor:
        return torch.tanh(module.inner(row)) @ table.T

    jacobians = [torch.autograd.functional.jacobian(outputs, row) for row in table]
    expected = np.array([float(one.square().sum(0).mean()) for one in jacobians]) / WORDS
    np.testing.assert_allclose(found, expected, rtol=0.4)
    assert found.sum() == pytest.approx(expected.sum(), rel=0.05)


def test_the_costs_of_both_uses_add_up() -> None:
    rng = np.random.default_rng(3)
    inputs = rng.normal(size=(50, 6))
    moment, rows, lookups = inputs.T @ inputs / 50, rng.exponential(size=9), rng.exponential(size=9)
    both = _of_both_uses(Sensitivity(moment, rows, lookups), 6)
    mean = np.trace(moment) / 6
    # Of an error without direction, row by row; and of errors in all rows, column by column.
    np.testing.assert_allclose(both.rows * np.trace(both.moment) / 6, rows * mean + lookups)
    weights = both.rows.sum() * both.moment
    np.testing.assert_allclose(weights, rows.sum() * moment + lookups.sum() * np.eye(6))


def test_rows_that_no_gradient_reaches_as_a_map_count_as_a_table() -> None:
    both = _of_both_uses(Sensitivity(np.eye(3), np.zeros(4), np.arange(4.0)), 3)
    np.testing.assert_array_equal(both.moment, np.eye(3))
    np.testing.assert_array_equal(both.rows, np.arange(4.0))


@pytest.mark.parametrize("bits", [3.0, 4.0])
def test_calibration_helps_tied_weights(tmp_path: Path, bits: float) -> None:
    module = Model(tied=True)
    found = []
    for calibration in (None, batches(16)):
        path = tmp_path / "m.vaec"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            vc.compress(
                module, path, bits_per_weight=bits, codec="quantized", calibration=calibration
            )
        found.append(divergence(module, decoded(module, path, tied=True)))
    assert found[1] < 0.9 * found[0]


def test_a_calibrated_encoding_that_is_far_worse_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sensitivities that are the wrong way round: rows that matter most count least."""
    original = fit_module.best_encoding

    def misled(encoder: Encoder, rate_weight: float, progress: Progress, _: Any) -> Encoding:
        operators = []
        for one in encoder.operators:
            weights = np.maximum(one.row_weights, 1e-3 * one.row_weights.mean())
            operators.append(dataclasses.replace(one, row_weights=weights.mean() ** 4 / weights**3))
        wrong = dataclasses.replace(encoder, operators=operators)
        return original(wrong, rate_weight, progress)

    monkeypatch.setattr(fit_module, "best_encoding", misled)
    module = Model(tied=False)
    path = tmp_path / "m.vaec"
    with pytest.warns(UserWarning, match="calibration is left out"):
        vc.compress(module, path, rate_weight=0.02, codec="quantized", calibration=batches(8))
    # About what errors without calibration do at so few bits.
    assert divergence(module, decoded(module, path, tied=False)) < 0.3
