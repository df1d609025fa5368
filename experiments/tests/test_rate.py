"""The rate experiment with little training, from end to end."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from experiments import rate
from experiments.curves import CODECS
from experiments.networks.classifiers import build
from experiments.publishing import publisher
from experiments.reports.rate import comparisons
from experiments.results.rate import ChosenFile
from experiments.tests.command import experiments
from vaecomp_native.compression.curve import load
from vaecomp_native.demo.accuracy import accuracy
from vaecomp_native.demo.digits import Digits, MnistData, load_bundled

# Whether a trained tensor's values are too far apart for its steps hangs on the training.
pytestmark = pytest.mark.filterwarnings("ignore:tensor '.*' is stored without loss")


@pytest.fixture
def without_nncodec(monkeypatch: pytest.MonkeyPatch) -> None:
    # None in sys.modules makes the import fail as it does where the package is not installed.
    monkeypatch.setitem(sys.modules, "nncodec", None)


def _few_digits() -> MnistData:
    """The bundled digits with so few for training that calibration takes no time."""
    data = load_bundled()
    return replace(data, train=Digits(data.train.images[:512], data.train.labels[:512]))


CURVE_CODECS = ("quantized", "quantized-uniform", "nncodec")


@dataclass(frozen=True)
class Run:
    """A finished experiment: where it wrote, what it returned, and what it said on the way."""

    out: Path
    result: dict[str, Any]
    notices: list[str]
    stages: set[str]

    @property
    def page(self) -> str:
        return (self.out / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("rate") / "new"
    notices: list[str] = []
    stages: set[str] = set()
    result = rate.run(
        _few_digits(),
        out,
        models=("fnn", "cnn"),
        codecs=CURVE_CODECS,
        # The finest points lose nothing, so that there is something to compare.
        fine_weights=(1e-6, 0.1),
        coarse_weights=(1e-6,),
        qps=(-36, -24),
        classifier_epochs=8,
        progress=lambda stage, done, total, metrics: stages.add(stage),
        notice=notices.append,
        publish=publisher("rate", out),
    )
    return Run(out, result.to_dict(), notices, stages)


def test_the_experiment_has_the_documented_keys(experiment: Run) -> None:
    rows = experiment.result["results"]
    assert {row["model"] for row in rows} == {"fnn", "cnn"}
    for row in rows:
        assert {
            "model",
            "codec",
            "allowed_loss",
            "bytes",
            "ratio_self_contained",
            "accuracy_original",
            "accuracy_decoded",
            "encode_seconds",
            "decode_seconds",
        } <= set(row)
        assert row["allowed_loss"] in (0.2, 0.5, 1.0)
    assert "experiments rate" in experiment.result["settings"]["command"]
    assert {"processor", "software"} <= set(experiment.result["machine"])


def test_the_experiment_writes_its_result_and_every_file(experiment: Run) -> None:
    written = json.loads((experiment.out / "rate.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(experiment.result))
    for name, model in experiment.result["models"].items():
        for point in model["points"]:
            size = (experiment.out / name / point["file"]).stat().st_size
            assert size == point["bytes"]
            assert point["ratio_self_contained"] == model["raw_bytes"] / size
    assert {"coding fnn", "training fnn", "coding cnn", "training cnn"} <= experiment.stages
    assert [line.partition(":")[0].partition(",")[0] for line in experiment.notices][-2:] == [
        "fnn",
        "cnn",
    ]


def test_each_row_is_the_codecs_smallest_file_within_the_loss(experiment: Run) -> None:
    rows = experiment.result["results"]
    for name, model in experiment.result["models"].items():
        for codec in {point["codec"] for point in model["points"]}:
            for allowed in (0.2, 0.5, 1.0):
                sizes = [
                    point["bytes"]
                    for point in model["points"]
                    if point["codec"] == codec
                    and point["validation_loss"] + 1.645 * point["validation_standard_error"]
                    <= allowed
                ]
                chosen = [
                    row["bytes"]
                    for row in rows
                    if (row["model"], row["codec"], row["allowed_loss"]) == (name, codec, allowed)
                ]
                assert chosen == ([min(sizes)] if sizes else [])
    assert {row["codec"] for row in rows} >= {"quantized", "quantized-uniform"}


def test_accuracies_are_those_of_the_files_on_the_test_digits(experiment: Run) -> None:
    test = load_bundled().test
    for row in experiment.result["results"]:
        decoded = load(build(row["model"]), CODECS[row["codec"]], experiment.out / row["file"])
        assert row["accuracy_decoded"] == accuracy(decoded, test.images, test.labels)


def test_the_page_stands_alone_and_compares_with_nncodec(experiment: Run) -> None:
    page = experiment.page
    assert page.count("<svg") == 1
    assert "src=" not in page
    assert "<script" not in page
    for text in ("nncodec", "How it was measured", "standard error", "FNN", "CNN", "uniform"):
        assert text in page
    assert "break-even" not in page


def _row(codec: str, size: int) -> ChosenFile:
    return ChosenFile(
        model="cnn",
        codec=codec,
        allowed_loss=0.5,
        bytes=size,
        ratio_self_contained=400_000 / size,
        accuracy_original=99.0,
        accuracy_decoded=98.9,
        encode_seconds=1.0,
        decode_seconds=0.1,
        setting={},
        file=f"cnn/{codec}",
        validation_loss=0.1,
        validation_standard_error=0.05,
    )


def test_the_comparison_says_how_much_smaller_the_file_is() -> None:
    ours, theirs = _row("quantized", 6000), _row("nncodec", 8000)
    (both,) = comparisons([ours, theirs, _row("quantized-vbq", 100)], ["cnn"], [0.5])
    assert (both.ours, both.theirs) == (ours, theirs)
    assert both.smaller == 25.0
    (alone,) = comparisons([ours], ["cnn"], [0.5])
    assert alone.smaller is None
    (neither,) = comparisons([], ["cnn"], [0.5])
    assert (neither.ours, neither.theirs, neither.smaller) == (None, None, None)


@pytest.mark.usefixtures("without_nncodec")
def test_without_nncodec_its_rows_are_left_out_and_it_says_so(tmp_path: Path) -> None:
    notices: list[str] = []
    result = rate.run(
        _few_digits(),
        tmp_path,
        models=("fnn",),
        codecs=("quantized", "nncodec"),
        fine_weights=(0.004,),
        classifier_epochs=8,
        notice=notices.append,
        publish=publisher("rate", tmp_path),
    )
    assert {point.codec for point in result.models["fnn"].points} == {"quantized"}
    assert sum("nncodec is not installed" in line for line in notices) == 1
    assert (tmp_path / "report.html").exists()


def test_the_command_has_help_and_refuses_unknown_networks(tmp_path: Path) -> None:
    shown = experiments("rate", "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "python -m experiments rate" in shown.stdout.partition("Examples:")[2]
    for option in ("--models", "--json", "--out", "--data", "--seed", "--threads"):
        assert option in shown.stdout
    refused = experiments("rate", "--models", "lenet5,vgg", "--out", tmp_path / "out")
    assert refused.returncode == 1
    assert refused.stderr.startswith("python -m experiments: ")
    assert "'vgg'" in refused.stderr
    assert "fnn, cnn, rnn, lstm, lenet5" in refused.stderr
    assert not list(tmp_path.iterdir())
