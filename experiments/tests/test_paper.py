"""The paper's evaluation end to end, with little training: files, JSON shape, and sums of bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import vaecomp_native as vc
from experiments import paper
from experiments.publishing import publisher
from experiments.tests.command import experiments
from vaecomp_native.demo.digits import load_bundled

# Whether a trained tensor's values are too far apart for its steps hangs on the training.
pytestmark = pytest.mark.filterwarnings("ignore:tensor '.*' is stored without loss")

PARTS = ["container", "decoder", "latents", "weights", "tables", "passthrough", "total"]


@dataclass(frozen=True)
class Evaluation:
    """The paper's evaluation; ``finished`` holds the networks on disk at each notice."""

    out: Path
    result: dict[str, Any]
    notices: list[str]
    finished: list[list[str]]

    @property
    def page(self) -> str:
        return (self.out / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    out = tmp_path_factory.mktemp("paper")
    notices: list[str] = []
    finished: list[list[str]] = []

    def notice(line: str) -> None:
        notices.append(line)
        file = out / "paper.json"
        finished.append(list(json.loads(file.read_bytes())["models"]) if file.exists() else [])

    result = paper.run(
        load_bundled(),
        out,
        models=("rnn", "cnn"),
        classifier_epochs=1,
        epochs=1,
        notice=notice,
        publish=publisher("paper", out),
    )
    return Evaluation(out, result.to_dict(), notices, finished)


def _check_bytes(sizes: Mapping[str, int], file: Path) -> None:
    assert list(sizes) == PARTS
    assert sum(sizes.values()) - sizes["total"] == sizes["total"] == file.stat().st_size


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


def test_unknown_models_are_refused(tmp_path: Path) -> None:
    run = experiments("paper", "--models", "cnn,vgg", "--out", tmp_path / "out")
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("python -m experiments: ")
    assert run.stderr.count("\n") == 1
    for text in ("'vgg'", "fnn, cnn, rnn, lstm"):
        assert text in run.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["", "paper"])
def test_every_help_has_examples(command: str) -> None:
    run = experiments(*command.split(), "--help")
    assert (run.returncode, run.stderr) == (0, "")
    assert f"python -m experiments {command}".strip() in run.stdout.partition("Examples:")[2]
