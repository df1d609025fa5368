"""The package nncodec as a baseline, and as a codec of curves."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments import rate
from experiments.baselines import nncodec
from experiments.curves import CODECS, families
from python_tests.tied import Tied, distance, tied
from vaecomp_native.compression.curve import Encoding, code, load

with_nncodec = pytest.mark.skipif(not nncodec.installed(), reason="nncodec is not installed")


@pytest.fixture
def without_nncodec(monkeypatch: pytest.MonkeyPatch) -> None:
    # None in sys.modules makes the import fail as it does where the package is not installed.
    monkeypatch.setitem(sys.modules, "nncodec", None)


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        "layers.0.weight": (0.1 * generator.standard_normal((64, 50))).astype(np.float32),
        "layers.0.bias": (0.1 * generator.standard_normal(64)).astype(np.float16),
        "kernel": (0.1 * generator.standard_normal((8, 4, 3, 3))).astype(np.float64),
        "counts": np.array([[-3, 70_000], [0, 2]]),
        "steps": np.array(12, np.int64),
    }


@with_nncodec
def test_nncodec_gives_back_every_array_within_its_step(arrays: dict[str, np.ndarray]) -> None:
    decoded = nncodec.decode(nncodec.encode(arrays, -24))
    assert list(decoded) == list(arrays)
    for name, array in arrays.items():
        assert decoded[name].shape == np.atleast_1d(array).shape
        step = 0 if array.dtype.kind == "i" else 2.0**-5
        assert np.abs(decoded[name] - array).max() <= step


@with_nncodec
def test_nncodec_is_smaller_at_coarser_steps_and_says_nothing(
    arrays: dict[str, np.ndarray], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before = {name: array.copy() for name, array in arrays.items()}
    sizes = [len(nncodec.encode(arrays, qp)) for qp in (-32, -24, -16)]
    assert sizes == sorted(sizes, reverse=True)
    assert nncodec.encode(arrays, -24, opt_qp=True) != nncodec.encode(arrays, -24)
    nncodec.decode(nncodec.encode(arrays, -24))
    assert capfd.readouterr() == ("", "")
    assert not list(Path.cwd().glob("*.nnc"))
    assert all(np.array_equal(arrays[name], array) for name, array in before.items())


@with_nncodec
@pytest.mark.parametrize(
    ("array", "what"), [(np.array([2**40]), "beyond int32"), (np.zeros((0, 3)), "empty")]
)
def test_nncodec_names_the_tensor_that_it_cannot_code(array: np.ndarray, what: str) -> None:
    with pytest.raises(ValueError, match=f"'odd'.*{what}"):
        nncodec.encode({"odd": array}, -24)


@pytest.mark.usefixtures("without_nncodec")
def test_without_nncodec_the_error_says_how_to_install_it(arrays: dict[str, np.ndarray]) -> None:
    assert not nncodec.installed()
    for call in (lambda: nncodec.encode(arrays, -24), lambda: nncodec.decode(b"")):
        with pytest.raises(ModuleNotFoundError, match=r"nncodec.*experiments/requirements"):
            call()


@with_nncodec
def test_curves_run_over_every_step_and_both_allocations(tmp_path: Path) -> None:
    module = tied()
    module.get_buffer("norm.num_batches_tracked").fill_(7)
    plan = families("nncodec", qps=[-28, -20])
    assert [[dict(candidate.setting) for candidate in family] for family in plan] == [
        [{"qp": qp, "opt_qp": opt_qp} for qp in (-28, -20)] for opt_qp in (False, True)
    ]
    raw = sum(tensor.numpy().nbytes for tensor in module.state_dict().values()) - 24 * 24 * 4
    for family in plan:
        files = [code(module, candidate, tmp_path, Encoding()) for candidate in family]
        assert files[0].bytes > files[1].bytes
        assert files[0].ratio_self_contained == raw / files[0].bytes
        decoded = [load(module, CODECS["nncodec"], file.path) for file in files]
        for one in decoded:
            assert isinstance(one, Tied)
            assert torch.equal(one.first.weight, one.second.weight)
            assert int(one.norm.num_batches_tracked or 0) == 7
        assert 0 < distance(module, decoded[0]) < distance(module, decoded[1])


def test_no_two_operating_points_share_a_file() -> None:
    plan = [
        candidate
        for codec in CODECS
        for family in families(codec, rate.FINE_WEIGHTS)
        for candidate in family
    ]
    assert len({candidate.file_name for candidate in plan}) == len(plan)
