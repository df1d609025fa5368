"""Size against accuracy: nncodec as a baseline, rate-distortion curves, and the experiment."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import vaecomp_native as vc
from experiments import rate
from experiments.baselines import nncodec
from experiments.measures.paired import PairedLoss, paired_loss
from experiments.networks.classifiers import build
from experiments.reports.rate import comparisons
from vaecomp_native.compression.curve import CODECS, Candidate, candidates, load
from vaecomp_native.demo.accuracy import accuracy
from vaecomp_native.demo.digits import Digits, MnistData, load_bundled

# Whether a trained tensor's values are too far apart for its steps hangs on the training.
pytestmark = pytest.mark.filterwarnings("ignore:tensor '.*' is stored without loss")

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
        with pytest.raises(ModuleNotFoundError, match=r'nncodec.*"vaecomp_native\[baselines\]"'):
            call()
    with pytest.raises(ModuleNotFoundError, match="vaecomp_native"):
        vc.rate_distortion(nn.Linear(2, 2), evaluate=lambda module: 0.0, codecs=["nncodec"])


CLASSES = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=50
)


@given(samples=CLASSES)
def test_the_paired_loss_is_the_mean_of_the_differences_and_its_error(
    samples: list[tuple[int, int, int]],
) -> None:
    before, after, labels = torch.tensor(samples).T
    differences = [100 * (int(b == y) - int(a == y)) for b, a, y in samples]
    loss = paired_loss(before, after, labels)
    assert loss.points == pytest.approx(statistics.fmean(differences))
    error = statistics.pstdev(differences) / len(samples) ** 0.5
    assert loss.standard_error == pytest.approx(error, abs=1e-5)
    assert paired_loss(before, before, labels) == PairedLoss(0.0, 0.0)


def test_an_allowed_loss_leaves_room_for_its_error() -> None:
    assert PairedLoss(0.25, 0.125).within(0.5)
    assert not PairedLoss(0.25, 0.16).within(0.5)
    assert PairedLoss(-1.0, 0.5).within(0.2)


class Tied(nn.Module):
    """Tied weights, a normalization layer with its counter, and a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(24, 24)
        self.norm = nn.BatchNorm1d(24)
        self.second = nn.Linear(24, 24)
        self.second.weight = self.first.weight

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.second(torch.relu(self.norm(self.first(inputs))))
        return outputs


@pytest.fixture
def module() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Tied().eval()


@pytest.fixture
def batches() -> list[torch.Tensor]:
    return list(torch.randn(4, 32, 24, generator=torch.Generator().manual_seed(1)))


def _distance(module: nn.Module, other: nn.Module) -> float:
    """The largest difference between the parameters of two modules."""
    pairs = zip(module.state_dict().values(), other.state_dict().values(), strict=True)
    return max(float((a.double() - b.double()).abs().max()) for a, b in pairs)


def test_a_point_is_a_real_file_and_its_score_that_of_the_decoded_module(
    module: nn.Module, batches: list[torch.Tensor], tmp_path: Path
) -> None:
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    calls: list[tuple[int, int, float]] = []
    points = vc.rate_distortion(
        module,
        calibration=batches,
        divergence="mse",
        evaluate=lambda decoded: _distance(module, decoded),
        codecs=["quantized", "lossless"],
        rate_weights=[0.001, 0.5],
        directory=tmp_path,
        progress=lambda stage, done, total, metrics: calls.append((done, total, metrics["score"])),
    )
    assert [point.codec for point in points] == ["quantized", "quantized", "lossless"]
    assert [dict(point.setting) for point in points] == [
        {"rate_weight": 0.001},
        {"rate_weight": 0.5},
        {},
    ]
    fine, coarse, lossless = points
    assert fine.bytes > coarse.bytes
    assert 0 < fine.score < coarse.score
    assert lossless.score == 0
    for point in points:
        path = tmp_path / Candidate(point.codec, point.setting).file_name
        assert path.stat().st_size == point.bytes
        assert _distance(module, load(module, point.codec, path)) == point.score
        assert point.ratio_self_contained == vc.verify(path).raw_bytes / point.bytes
        assert point.encode_seconds > 0
        assert point.decode_seconds > 0
        assert json.loads(json.dumps(point.to_dict())) == point.to_dict()
    assert calls == [(k, 3, point.score) for k, point in enumerate(points, start=1)]
    assert all(torch.equal(module.state_dict()[name], old) for name, old in before.items())
    assert len(list(tmp_path.iterdir())) == 3


@with_nncodec
def test_nncodec_is_run_at_every_step_and_with_both_allocations(module: nn.Module) -> None:
    module.get_buffer("norm.num_batches_tracked").fill_(7)
    steps: list[int] = []

    def evaluate(decoded: nn.Module) -> float:
        assert isinstance(decoded, Tied)
        assert torch.equal(decoded.first.weight, decoded.second.weight)
        steps.append(int(decoded.norm.num_batches_tracked or 0))
        return _distance(module, decoded)

    points = vc.rate_distortion(module, evaluate=evaluate, codecs=["nncodec"], qps=[-28, -20])
    assert [dict(point.setting) for point in points] == [
        {"qp": qp, "opt_qp": opt} for opt in (False, True) for qp in (-28, -20)
    ]
    assert steps == [7] * 4
    assert points[0].bytes > points[1].bytes
    assert 0 < points[0].score < points[1].score
    raw = sum(tensor.numpy().nbytes for tensor in module.state_dict().values()) - 24 * 24 * 4
    assert points[0].ratio_self_contained == raw / points[0].bytes


def test_an_unknown_codec_is_refused_with_the_known_ones(module: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"'zip'.*quantized.*nncodec"):
        vc.rate_distortion(module, evaluate=lambda decoded: 0.0, codecs=["zip"])


def test_no_two_operating_points_share_a_file() -> None:
    plan = [
        candidate
        for codec in CODECS
        if codec != "nncodec" or nncodec.installed()
        for candidate in candidates([codec], rate_weights=rate.FINE_WEIGHTS)
    ]
    assert len({candidate.file_name for candidate in plan}) == len(plan)


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
    assert "experiment rate" in experiment.result["settings"]["command"]
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
        decoded = load(build(row["model"]), row["codec"], experiment.out / row["file"])
        assert row["accuracy_decoded"] == accuracy(decoded, test.images, test.labels)


def test_the_page_stands_alone_and_compares_with_nncodec(experiment: Run) -> None:
    page = experiment.page
    assert page.count("<svg") == 1
    assert "src=" not in page
    assert "<script" not in page
    for text in ("nncodec", "How it was measured", "standard error", "FNN", "CNN", "uniform"):
        assert text in page
    assert "break-even" not in page


def _row(codec: str, size: int) -> rate.ChosenFile:
    return rate.ChosenFile(
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
    )
    assert {point.codec for point in result.models["fnn"].points} == {"quantized"}
    assert sum("nncodec is not installed" in line for line in notices) == 1
    assert (tmp_path / "report.html").exists()


def vaecomp(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vaecomp_native", "experiment", "rate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_the_command_has_help_and_refuses_unknown_networks(tmp_path: Path) -> None:
    shown = vaecomp("--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "vaecomp experiment rate" in shown.stdout.partition("Examples:")[2]
    for option in ("--models", "--json", "--out", "--data", "--seed", "--threads"):
        assert option in shown.stdout
    refused = vaecomp("--models", "lenet5,vgg", "--out", str(tmp_path / "out"))
    assert refused.returncode == 1
    assert refused.stderr.startswith("vaecomp: ")
    assert "'vgg'" in refused.stderr
    assert "fnn, cnn, rnn, lstm, lenet5" in refused.stderr
    assert not list(tmp_path.iterdir())


def test_importing_the_package_imports_neither_torch_nor_nncodec() -> None:
    code = (
        "import sys, vaecomp_native as v; v.rate_distortion; "
        "print({'torch', 'nncodec'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
