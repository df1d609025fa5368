"""The demonstration's page and pictures, and tables, in which there is little or nothing to show."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import vaecomp_native as vc
from vaecomp_native.cli import tables
from vaecomp_native.demo.digits import Digits
from vaecomp_native.demo.measure import measure
from vaecomp_native.demo.network import CNN
from vaecomp_native.demo.report import figures
from vaecomp_native.demo.report.demo import render_demo
from vaecomp_native.demo.result import DemoArchive, Demonstration, DemoResult
from vaecomp_native.demo.training import EpochRecord, TrainedClassifier

NAN, INF = math.nan, math.inf


def test_pictures_of_nothing_are_words() -> None:
    empty, nothing = np.zeros((0, 4), np.float32), np.full(3, NAN, np.float32)
    for page in (
        figures.bytes_by_part(1000, {}),
        figures.weights_before_after("w", empty, {"one": empty}),
        figures.error_histogram({}, 1.0),
        figures.error_histogram({"one": empty.ravel(), "other": nothing}, 1.0),
        figures.classifier_curve([]),
        figures.classifier_curve([EpochRecord(0, NAN, NAN)]),
        figures.vae_curves({}),
        figures.vae_curves({"CNN": []}),
    ):
        assert "<svg" not in page
        assert "nothing to show" in page


def test_pictures_take_equal_zero_and_missing_values() -> None:
    zeros = np.zeros((2, 3), np.float32)
    broken = np.array([[1, NAN, 2], [INF, 0, -INF]], np.float32)
    parts = {**dict.fromkeys(figures.PARTS, 0), "total": 0}
    for page in (
        figures.bytes_by_part(0, {"one": parts}),
        figures.weights_before_after("w", zeros, {"one": zeros}),
        figures.error_histogram({"one": zeros.ravel()}, 0.0),
        figures.error_histogram({"one": zeros.ravel()}, NAN),
        figures.classifier_curve([EpochRecord(0, 0.0, 0.0), EpochRecord(1, 0.0, 0.0)]),
        figures.vae_curves({"CNN": [{"epoch": 1, "train_loss": 1, "validation_loss": 1}]}),
    ):
        assert page.count("<svg") == 1
    page = figures.weights_before_after("w", broken, {"one": zeros})
    assert "original: 3 values are not shown" in page
    page = figures.vae_curves({"A": [{"epoch": 1, "train_loss": 0, "validation_loss": 1}]})
    assert "A: 1 value is not shown" in page
    page = figures.error_histogram({"one": broken.ravel(), "other": zeros.ravel()}, 1.0)
    assert "one: 3 values are not shown" in page


def test_a_demo_page_without_training_or_archives_says_so(tmp_path: Path) -> None:
    digits = Digits(torch.zeros(3, 28, 28), torch.zeros(3, dtype=torch.int64))
    trained = TrainedClassifier(CNN(), (), NAN)
    result = DemoResult("cnn", "none", 0, 0, NAN, ())
    predicted = torch.zeros(3, dtype=torch.int64)
    empty = Demonstration(result, trained, [], digits, predicted, [], {})
    page = render_demo(empty)
    assert page.count("No archive was made.") == 2
    assert page.count("nothing to show.") == 4

    one = measure(trained.model, tmp_path / "one.vaec", "quantized", codec="lossless")
    archive = DemoArchive("quantized", dict(one.info.bytes), 1.0, None, NAN, True, INF, 1.0)
    full = replace(
        empty,
        result=replace(result, archives=(archive,)),
        measurements=[one],
        decoded=[predicted],
    )
    page = render_demo(full)
    assert "No archive was made." not in page
    # No autoencoder was trained.
    assert page.count("nothing to show.") == 2


def test_a_report_without_scores_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = {"w": np.zeros((4, 4), np.float32)}
    report = vc.compress(weights, tmp_path / "a.vaec", codec="lossless")
    for score in (None, NAN):
        other = vc.RunnerUp("raw", None, score, "larger")
        tables.print_compression(replace(report, score=score, compared=[other]))
    assert "lossless" in capsys.readouterr().out
