"""Pages, pictures and tables of results in which there is little or nothing to show."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from experiments import tables
from experiments.rate import ALLOWED_LOSSES
from experiments.reports import figures, fleet, paper, quantizers, rate
from experiments.reports import series as series_page
from experiments.results.fleet import FleetResult, HeldOutPoint, TrainedPack
from experiments.results.paper import PaperResult
from experiments.results.quantizers import DataSet, Point, QuantizerResult, Saving
from experiments.results.rate import ChosenFile, CurvePoint, ModelCurves, RateResult
from experiments.results.series import CodecResult, Row, SeriesResult
from vaecomp_native.demo.digits import Digits
from vaecomp_native.demo.report.drawing import Line

NAN, INF = math.nan, math.inf
COLOUR = "#123456"
SETTINGS: dict[str, Any] = {
    "data": "no data",
    "calibration digits": 0,
    "validation digits": 0,
    "test digits": 0,
    "test digits a member": 0,
    "training digits a member": 0,
    "calibration digits a member": 0,
    "validation members": 0,
}
MACHINE = {"processor": "any"}


def series(*points: tuple[float, float]) -> list[Line]:
    return [Line("one", COLOUR, points, bold=True)]


PICTURES: dict[str, Callable[[list[Line]], Markup]] = {
    "rate": lambda one: figures.rate_curves({"CNN": one}, ALLOWED_LOSSES),
    "rate, no loss allowed": lambda one: figures.rate_curves({"CNN": one}, ()),
    "errors": lambda one: figures.error_curves({"set": one}, {"set": "nats"}, 5.0),
    "accuracy": lambda one: figures.accuracy_against_bytes(one, {"base": 90.0, "own": NAN}),
    "members": lambda one: figures.bytes_against_members(one, None, 256),
    "along": lambda one: figures.along_series({"lossy": one}, "bytes", logarithmic=("lossy",)),
    "along, one panel": lambda one: figures.along_series({"": one}, "accuracy"),
}
"""Pictures of pairs, by what they are called here."""
UNPLACED: Sequence[tuple[float, float]] = [(NAN, 1.0), (1.0, NAN), (INF, 1.0), (0.2, -INF)]


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("points", [[], UNPLACED], ids=["none", "none finite"])
def test_a_picture_of_nothing_is_words(name: str, points: list[tuple[float, float]]) -> None:
    for one in (series(*points), []):
        words = PICTURES[name](one)
        assert "<svg" not in words
        assert "nothing to show" in words


@pytest.mark.parametrize("name", PICTURES)
def test_one_point_is_a_picture(name: str) -> None:
    page = PICTURES[name](series((0.2, 3.0)))
    assert "nothing to show" not in page
    # A line of one point has no length: it must have a mark.
    drawn = page.partition('id="legend_1"')[0]
    assert re.search(f"<use[^>]*fill: {COLOUR}", drawn)


@pytest.mark.parametrize("name", PICTURES)
@settings(max_examples=8)  # each takes a while to draw
@given(
    points=st.lists(
        st.tuples(
            st.sampled_from([NAN, -INF, -1.0, 0.0, 0.2, 1e-30, 1e9]),
            st.sampled_from([NAN, INF, -2.0, 0.0, 3.0, 1e-30, 1e9]),
        ),
        max_size=4,
    )
)
def test_any_points_make_a_picture_or_words(name: str, points: list[tuple[float, float]]) -> None:
    page = PICTURES[name](series(*points))
    assert ("<svg" in page) != ("nothing to show" in page.partition("</svg>")[0])


def test_points_without_a_place_are_counted_below_the_picture() -> None:
    good = (0.2, 3.0)
    page = figures.rate_curves({"CNN": series(good, (0.1, 0.0), (NAN, 2.0))}, ALLOWED_LOSSES)
    assert "CNN: 2 values are not shown" in page
    assert "not shown" not in figures.rate_curves({"CNN": series(good)}, ALLOWED_LOSSES)
    # On an axis that is not logarithmic, zeros and gains have their place.
    assert "not shown" not in figures.rate_curves({"CNN": series((-1.0, 3.0))}, ALLOWED_LOSSES)


def test_a_panel_without_points_is_named_and_the_others_are_drawn() -> None:
    panels = {"CNN": series((0.2, 3.0)), "RNN": series((50.0, 3.0)), "LSTM": []}
    page = figures.rate_curves(panels, ALLOWED_LOSSES)
    assert page.count("<svg") == 1
    for name in ("RNN", "LSTM"):
        assert f"{name}: nothing to show." in page
    assert "CNN:" not in page


def test_the_legend_has_the_series_of_every_panel() -> None:
    other = Line("other", "#654321", [(0.3, 2.0)], bold=False)
    alone = figures.rate_curves({"CNN": series((0.2, 3.0))}, ALLOWED_LOSSES)
    both = figures.rate_curves({"CNN": series((0.2, 3.0)), "RNN": [other]}, ALLOWED_LOSSES)
    legends = [page.partition('id="legend_1"')[2] for page in (alone, both)]
    assert [COLOUR in legend for legend in legends] == [True, True]
    assert ["#654321" in legend for legend in legends] == [False, True]


def test_figures_of_nothing_are_words() -> None:
    for page in (
        figures.size_against_time({}),
        figures.size_against_time({"CNN": (1000, NAN)}),
        figures.total_bytes({}),
        figures.total_bytes({"lossy": []}),
    ):
        assert "<svg" not in page
        assert "nothing to show" in page


def test_figures_of_zeros_are_pictures() -> None:
    for page in (
        figures.size_against_time({"CNN": (0, 0.0)}),
        figures.total_bytes({"lossy": [figures.TotalBar("one", "#000000", 0, 0)], "other": []}),
    ):
        assert page.count("<svg") == 1


def curve_point(codec: str, loss: float, ratio: float = 10.0) -> CurvePoint:
    setting = {"qp": -20} if codec == "nncodec" else {"rate_weight": 0.1}
    return CurvePoint(codec, setting, f"{codec}.vaec", 1000, ratio, 90.0, loss, 0.1, 1.0, 0.1)


def chosen(codec: str) -> ChosenFile:
    return ChosenFile(
        "cnn", codec, 0.5, 1000, 10.0, 90.0, 89.9, 1.0, 0.1, {}, f"cnn/{codec}", 0.1, 0.1
    )


def rate_result(
    rows: Sequence[ChosenFile] = (), models: Sequence[str] = ("cnn",), loss: float = 50.0
) -> RateResult:
    points = tuple(curve_point(codec, loss) for codec in ("quantized", "nncodec"))
    curves = {name: ModelCurves(100, 10_000, 90.0, points) for name in models}
    return RateResult(ALLOWED_LOSSES, tuple(rows), curves, SETTINGS, MACHINE)


NO_FILE = "No file of any codec stays within an allowed loss."


def test_a_rate_page_without_a_chosen_file_says_so() -> None:
    page = rate.render(rate_result())
    assert page.count(NO_FILE) == 3
    assert "one panel a network: nothing to show." in page
    assert "0.2, 0.5 or 1.0 points of accuracy" in page


def test_a_rate_page_has_a_row_for_every_network_and_loss() -> None:
    page = rate.render(rate_result([chosen("quantized")], ("cnn", "lstm"), loss=0.1))
    assert NO_FILE not in page
    smallest = page.partition("The smallest files")[2].partition("</table>")[0]
    assert smallest.count("<tr") == 2 + 2 * len(ALLOWED_LOSSES)
    assert "LSTM" in smallest
    assert smallest.count("10x") == 1


def test_a_rate_page_without_the_baseline_says_so() -> None:
    result = rate_result([chosen("quantized")], loss=0.1)
    assert "No file of nncodec was made" not in rate.render(result)
    curves = {"cnn": replace(result.models["cnn"], points=(curve_point("quantized", 0.1),))}
    assert "No file of nncodec was made" in rate.render(replace(result, models=curves))


def test_a_rate_page_of_no_network_or_no_points_says_so() -> None:
    assert "No network is finished." in rate.render(rate_result(models=()))
    result = rate_result()
    curves = {"cnn": replace(result.models["cnn"], points=())}
    assert "nothing to show" in rate.render(replace(result, models=curves))


FLEET_SETTING = {"latent": 4, "decoder_rate_weight": 1e-5, "steps": 10}


def fleet_point(codec: str, accuracy: float = 90.0) -> HeldOutPoint:
    return HeldOutPoint(
        codec, FLEET_SETTING, accuracy, 80.0, 95.0, 20.0, 9000, None, 0.1, 50.0, 30.0, None
    )


def fleet_result(points: Sequence[HeldOutPoint] = (), **changes: Any) -> FleetResult:
    result = FleetResult(
        members=4,
        held_out=2,
        accuracy_base=80.0,
        accuracy_own=91.0,
        points=tuple(points),
        raw_bytes=1000,
        validation_accuracy_base=80.0,
        validation_accuracy_own=91.0,
        validation=tuple(points),
        packs=(),
        settings=SETTINGS,
        machine=MACHINE,
    )
    return replace(result, **changes)


def test_a_fleet_page_without_a_point_says_so() -> None:
    page = fleet.render(fleet_result())
    assert "No codec stored a member." in page
    assert "Accuracy against bytes a member: nothing to show." in page
    assert "<svg" not in page


@pytest.mark.parametrize("accuracy", [90.0, 10.0, NAN])
@pytest.mark.parametrize("codecs", [("fleet",), ("quantized",), ("fleet", "quantized", "bitdelta")])
def test_a_fleet_page_of_some_codecs_is_whole(codecs: tuple[str, ...], accuracy: float) -> None:
    points = [fleet_point(codec, accuracy) for codec in codecs]
    pack = TrainedPack(FLEET_SETTING, 9000, NAN, NAN, 1.0)
    page = fleet.render(fleet_result(points, packs=(pack,), accuracy_own=accuracy))
    assert ("<svg" in page) == math.isfinite(accuracy)
    assert "nan %" not in page


def series_codec(codec: str, *, lossless: bool) -> CodecResult:
    return CodecResult(
        codec, lossless, True, 500, 0, 250.0, 4.0, 0.0, 0.0, 100, 100, 100, 0, 1, 1, 0, {}
    )


def series_result(codecs: Sequence[CodecResult] = (), checkpoints: int = 0) -> SeriesResult:
    rows = tuple(
        Row(one.codec, number, 250, None, 90.0, NAN, NAN, NAN, NAN, 1.0, 0.1)
        for one in codecs
        for number in range(checkpoints)
    )
    own = (90.0,) * checkpoints
    return SeriesResult(checkpoints, tuple(codecs), rows, own, 1000, 1.0, (), SETTINGS, MACHINE)


def test_a_series_page_without_a_codec_says_so() -> None:
    page = series_page.render(series_result())
    for words in ("No codec stored the series.", "No codec had several settings."):
        assert words in page
    assert page.count("nothing to show.") == 3
    assert "<svg" not in page


@pytest.mark.parametrize("checkpoints", [0, 1, 2])
@pytest.mark.parametrize("lossless", [False, True])
def test_a_series_page_of_one_codec_is_whole(checkpoints: int, lossless: bool) -> None:
    codec = series_codec("lossless" if lossless else "series", lossless=lossless)
    page = series_page.render(series_result([codec], checkpoints))
    assert page.count("<svg") == (3 if checkpoints else 1)
    assert "No codec stored the series." not in page


def data_set(savings: Sequence[Saving] = (), points: Sequence[Point] = ()) -> DataSet:
    return DataSet("fnn", 10, 1, NAN, "effect", tuple(points), tuple(savings))


SAVING = Saving("vbq", "bits", "distortion", {"0.5": None, "1": NAN, "2": 0.0})
POINT = Point("vbq", "one", "both", 1.0, 2.0, 2.0, 0.0, 0.5)


@pytest.mark.parametrize("sets", [[], [data_set()]], ids=["no data set", "no saving"])
def test_a_page_of_quantizers_without_a_saving_says_so(sets: list[DataSet]) -> None:
    page = quantizers.render(QuantizerResult(tuple(sets), SETTINGS, MACHINE))
    assert page.count("No quantizer was compared with another one.") == 2
    assert "<svg" not in page


def test_a_page_of_quantizers_has_dashes_for_what_there_is_not() -> None:
    result = QuantizerResult((data_set([SAVING], [POINT]),), SETTINGS, MACHINE)
    page = quantizers.render(result)
    row = page.partition("posterior distortion</td>")[2].partition("</tr>")[0]
    assert row.count("–") == 2
    assert "+0 %" in row
    # An error of zero has no place on a logarithmic axis; its effect has.
    assert "fnn: 1 value is not shown" in page
    assert page.count("<svg") == 1


def test_a_page_of_the_paper_without_a_network_says_so() -> None:
    digits = Digits(torch.zeros(0, 28, 28), torch.zeros(0, dtype=torch.int64))
    page = paper.render(PaperResult([], digits, SETTINGS))
    assert "No network is finished." in page
    assert "<svg" not in page


@pytest.mark.parametrize(
    ("print_result", "result"),
    [
        (tables.print_quantizers, QuantizerResult((), {}, {})),
        (tables.print_quantizers, QuantizerResult((data_set(),), {}, {})),
        (tables.print_rate, rate_result(models=())),
        (tables.print_fleet, fleet_result()),
        (tables.print_series, series_result()),
        (tables.print_paper, PaperResult([], Digits(torch.zeros(0), torch.zeros(0)), {})),
    ],
)
def test_a_table_without_rows_says_so(
    print_result: Callable[[Any, Path], None], result: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    print_result(result, Path("report.html"))
    assert "there is nothing to show in a table" in capsys.readouterr().out


def test_a_table_names_the_network_that_no_file_was_chosen_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tables.print_rate(rate_result([chosen("quantized")], ("cnn", "lstm")), Path("report.html"))
    shown = capsys.readouterr().out
    assert "cnn, quantized" in shown
    assert "lstm, no file that loses so little" in shown


def test_tables_have_dashes_for_what_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_quantizers(QuantizerResult((data_set([SAVING]),), {}, {}), Path("r.html"))
    row = next(line for line in capsys.readouterr().out.splitlines() if "vbq" in line)
    assert row.split()[-4:] == ["-", "-", "+0", "%"]
