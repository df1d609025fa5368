"""Quantizers beside each other: codings of posteriors, savings at equal errors, and the experiment."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments import posteriors, quantizers
from experiments.measures.quantizers import (
    PARAMETER_BITS,
    QUANTIZERS,
    TABLES,
    Coding,
    Posterior,
    codings,
)
from experiments.measures.savings import frontier, percent_fewer
from experiments.networks.classifiers import build
from experiments.publishing import publisher
from experiments.tests.command import experiments
from vaecomp_native.demo.digits import Digits, MnistData, load_bundled
from vaecomp_native.quantization.entropy import total_bits
from vaecomp_native.quantization.uniform import uniform
from vaecomp_native.quantization.vbq import quantize_latents


def channels(deviations: list[float], rows: int = 3000, decades: int = 3) -> Posterior:
    """Normal channels of these deviations, each with variances spread evenly over some decades."""
    rng = np.random.default_rng(0)
    means = rng.standard_normal((rows, len(deviations))) * deviations
    variances = 10 ** rng.uniform(-decades, 0, means.shape) * np.square(deviations)
    return Posterior((means.astype(np.float32),), (variances.astype(np.float32),))


def test_distortion_is_in_nats_a_number() -> None:
    posterior = Posterior(
        (np.zeros((2, 1), np.float32), np.zeros((1, 2), np.float32)),
        (np.full((2, 1), 0.5, np.float32), np.full((1, 2), 2, np.float32)),
    )
    decoded = (np.ones((2, 1), np.float32), np.ones((1, 2), np.float32))
    assert posterior.distortion(decoded) == pytest.approx((1 + 1 + 0.25 + 0.25) / 4)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_a_coding_counts_every_bit_and_decodes_every_block(quantizer: str) -> None:
    posterior = channels([1.0, 0.1])
    for coding in codings(posterior, quantizer, 1.0):
        assert 0 < coding.symbol_bits < coding.bits
        assert [block.shape for block in coding.decoded] == [(3000, 2)]
        assert coding.decoded[0].dtype == np.float32
        assert coding.distortion == posterior.distortion(coding.decoded)


def test_one_table_is_the_quantizer_itself() -> None:
    posterior = channels([1.0])
    (means,), (variances,) = posterior.means, posterior.variances
    matrix = uniform(means.T, 1 / variances.T, 2.0)
    (coding, same) = codings(posterior, "uniform", 2.0)
    assert coding is same
    assert coding.tables == "one"
    assert coding.bits == pytest.approx((total_bits(matrix) + PARAMETER_BITS) / means.size)
    assert np.array_equal(coding.decoded[0], matrix.values().T)


def test_a_table_for_each_channel_is_that_of_the_latents() -> None:
    """Many numbers in channels of which one matters more: there tables of their own pay."""
    posterior = channels([1.0, 1.0], rows=20_000)
    posterior.variances[0][:, 1] *= 1000
    best, _ = codings(posterior, "vbq", 0.5)
    assert best.tables == "one a channel"
    matrices = quantize_latents(posterior.means[0], posterior.variances[0], 0.5)
    assert np.array_equal(best.decoded[0], np.hstack([matrix.values() for matrix in matrices]))


def test_scaled_channels_share_a_table_where_there_are_few_numbers() -> None:
    best, _ = codings(channels([1.0, 1000.0, 1e-3] * 10, rows=60), "vbq", 0.05)
    assert best.tables == "one, channels scaled"


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_the_codings_that_are_kept_are_the_best(quantizer: str) -> None:
    posterior = channels([1.0, 20.0, 0.1], rows=200)
    found = codings(posterior, quantizer, 0.3)
    assert {coding.tables for coding in found} <= set(TABLES)

    def objectives(coding: Coding) -> tuple[float, ...]:
        distortion = posterior.distortion(coding.decoded)
        return tuple(distortion + 0.15 * bits for bits in (coding.bits, coding.symbol_bits))

    assert objectives(found[0])[0] <= objectives(found[-1])[0]
    assert objectives(found[-1])[1] <= objectives(found[0])[1]


def test_variational_bayesian_quantization_wins_where_variances_differ() -> None:
    """With variances over four decades the published savings are there, up to 2.5 bits."""
    posterior = channels([1.0], rows=40_000, decades=4)
    curves = {
        name: frontier(
            (coding.bits, coding.distortion)
            for weight in 2.0 ** np.arange(0, 13)
            for coding in codings(posterior, name, weight)
        )
        for name in ("uniform", "vbq")
    }
    for bits, least in ((1.0, 60), (2.5, 30)):
        saved = percent_fewer(curves["vbq"], curves["uniform"], bits)
        assert saved is not None and saved > least


def test_the_frontier_holds_what_nothing_beats() -> None:
    points = [(2.0, 0.5), (1.0, 1.0), (1.5, 2.0), (3.0, 0.5), (2.5, 0.1)]
    assert frontier(points) == [(1.0, 1.0), (2.0, 0.5), (2.5, 0.1)]
    assert frontier([]) == []


def test_savings_are_at_equal_errors() -> None:
    baseline = [(bits, 4.0**-bits) for bits in (0.0, 1.0, 2.0, 4.0)]
    half = [(bits, 16.0**-bits) for bits in (0.0, 1.0, 2.0)]
    for bits in (0.5, 1.0, 3.0, 4.0):
        assert percent_fewer(half, baseline, bits) == pytest.approx(50)
        assert percent_fewer(baseline, baseline, bits) == pytest.approx(0, abs=1e-9)
    assert percent_fewer(baseline, half, 1.5) == pytest.approx(-100)
    assert percent_fewer(half, baseline, 4.5) is None
    assert percent_fewer(half[:2], baseline, 3.0) is None
    assert percent_fewer([], baseline, 1.0) is None
    assert percent_fewer([(0.0, 1.0), (1.0, 0.0)], baseline, 1.0) is None


def _few_digits() -> MnistData:
    data = load_bundled()
    few = [Digits(part.images[:256], part.labels[:256]) for part in (data.train, data.validation)]
    return replace(data, train=few[0], validation=few[1])


def test_the_laplace_approximation_widens_what_the_data_do_not_determine() -> None:
    data = _few_digits()
    torch.manual_seed(0)
    source = posteriors.weights("fnn", build("fnn").eval(), data)
    assert source.effect(source.posterior.means) == 0
    # A pixel of the corner is the same in every digit up to a constant; one of the middle is not.
    images = data.train.images.flatten(1)
    energy = images.square().mean(0)
    first = source.posterior.variances[0].reshape(200, 784).mean(0)
    assert np.isfinite(first).all() and (first > 0).all()
    assert np.corrcoef(first, energy)[0, 1] < -0.3


@dataclass(frozen=True)
class Run:
    out: Path
    result: dict[str, Any]
    notices: list[str]
    stages: set[str]


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("quantizers") / "new"
    notices: list[str] = []
    stages: set[str] = set()
    result = quantizers.run(
        _few_digits(),
        models=("rnn",),
        classifier_epochs=1,
        betas=(1.0,),
        epochs=1,
        rate_factors=dict.fromkeys(QUANTIZERS, 400.0),
        progress=lambda stage, done, total, metrics: stages.add(stage),
        notice=notices.append,
        publish=publisher("quantizers", out),
    )
    return Run(out, result.to_dict(), notices, stages)


def test_the_experiment_has_every_quantizer_on_every_data_set(experiment: Run) -> None:
    sets = {data["name"]: data for data in experiment.result["data_sets"]}
    assert list(sets) == ["weights, RNN", "latents, beta 1"]
    assert sets["weights, RNN"]["numbers"] == 54_538
    assert sets["latents, beta 1"]["numbers"] == 27 * 64
    for data in sets.values():
        assert {point["quantizer"] for point in data["points"]} == set(QUANTIZERS)
        assert all(point["symbol_bits"] <= point["bits"] for point in data["points"])
        for name in QUANTIZERS:
            points = [point for point in data["points"] if point["quantizer"] == name]
            assert points[-1]["bits"] > 4
            assert {point["best_by"] for point in points} <= {"both", "bits", "symbol_bits"}
            assert points[-1]["distortion"] < 0.1 * points[0]["distortion"]
            assert points[-1]["effect"] < points[0]["effect"]
        pairs = {(s["quantizer"], s["rate"], s["error"]) for s in data["savings"]}
        assert len(pairs) == len(data["savings"]) == 4 * 2 * 2
    assert "experiments quantizers" in experiment.result["settings"]["command"]
    assert {"coding weights, RNN", "training rnn"} <= experiment.stages
    assert len(experiment.notices) == 1 + len(sets)


def test_the_experiment_writes_its_result_and_a_page_that_stands_alone(experiment: Run) -> None:
    written = json.loads((experiment.out / "quantizers.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(experiment.result))
    page = (experiment.out / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2
    assert "src=" not in page and "<script" not in page
    for text in ("weights, RNN", "latents, beta 1", "symbols only", "ecsq-lloyd", "kmeans"):
        assert text in page


def test_the_command_has_help_and_refuses_unknown_networks(tmp_path: Path) -> None:
    shown = experiments("quantizers", "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "python -m experiments quantizers" in shown.stdout.partition("Examples:")[2]
    for option in ("--models", "--json", "--out", "--data", "--seed", "--threads"):
        assert option in shown.stdout
    refused = experiments("quantizers", "--models", "lenet5", "--out", tmp_path / "out")
    assert refused.returncode == 1
    assert "fnn, cnn, rnn, lstm" in refused.stderr
    assert not list(tmp_path.iterdir())
