"""The page of the series experiment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from experiments.reports import figures
from experiments.reports.page import page_of
from experiments.results.series import CodecResult, SeriesResult
from vaecomp_native.demo.report.drawing import RAW_COLOUR, Line

LOSSY, LOSSLESS = "lossy", "without loss"
COLOURS: dict[str, str] = {
    "series": "#2f86c9",
    "series-lossless": "#2f86c9",
    "quantized": "#009e73",
    "lossless": "#009e73",
}
LABELS: dict[str, str] = {
    "series": "pack of the series",
    "series-lossless": "pack of the series",
    "quantized": "quantized codec, each alone",
    "lossless": "lossless codec, each alone",
}
BASE_COLOUR, CHAIN_COLOUR, OWN_COLOUR = "#d55e00", "#cc79a7", "#8c8c8c"


def render(result: SeriesResult) -> str:
    """The HTML page."""
    return page_of(
        "series.html.j2",
        result=result,
        settings=result.settings,
        machine=result.machine,
        groups={
            name: sorted(codecs, key=lambda one: one.total_bytes)
            for name, codecs in _groups(result.codecs).items()
        },
        label=_label,
        bytes_figure=_bytes_figure(result),
        accuracy_figure=_accuracy_figure(result),
        total_figure=_total_figure(result),
    )


def _groups(codecs: Sequence[CodecResult]) -> dict[str, list[CodecResult]]:
    found = {
        LOSSY: [one for one in codecs if not one.lossless],
        LOSSLESS: [one for one in codecs if one.lossless],
    }
    return {name: own for name, own in found.items() if own}


def _label(codec: CodecResult) -> str:
    return LABELS.get(codec.codec, codec.codec)


def _colour(codec: CodecResult) -> str:
    return COLOURS.get(codec.codec, BASE_COLOUR if codec.random_access else CHAIN_COLOUR)


def _drawn(codecs: Sequence[CodecResult]) -> Iterator[CodecResult]:
    """Ours, and of other packages the smallest with random access and the smallest without."""
    others = [one for one in codecs if one.codec not in COLOURS]
    yield from (one for one in codecs if one.codec in COLOURS)
    for access in (True, False):
        if own := [one for one in others if one.random_access == access]:
            yield min(own, key=lambda one: one.total_bytes)


def _bytes_figure(result: SeriesResult) -> Markup:
    return figures.along_series(
        {
            name: [
                Line(
                    _label(codec),
                    _colour(codec),
                    [(r.checkpoint, r.bytes) for r in result.rows if r.codec == codec.codec],
                    bold=codec.codec.startswith("series"),
                )
                for codec in _drawn(codecs)
            ]
            for name, codecs in _groups(result.codecs).items()
        },
        "bytes",
        logarithmic=(LOSSY,),
    )


def _accuracy_figure(result: SeriesResult) -> Markup:
    lines = [Line("as trained", OWN_COLOUR, list(enumerate(result.accuracies_own)), bold=False)]
    for codec in result.codecs:
        if not codec.lossless:
            points = [(r.checkpoint, r.accuracy) for r in result.rows if r.codec == codec.codec]
            bold = codec.codec == "series"
            lines.append(Line(_label(codec), _colour(codec), points, bold))
    return figures.along_series({"": lines}, "accuracy on test digits (%)")


def _total_figure(result: SeriesResult) -> Markup:
    raw = result.checkpoints * result.raw_bytes
    panels = {}
    for name, codecs in _groups(result.codecs).items():
        bars = [
            figures.TotalBar(
                _label(one), _colour(one), one.shared_bytes, one.total_bytes - one.shared_bytes
            )
            for one in sorted(codecs, key=lambda one: one.total_bytes)
        ]
        if name == LOSSLESS:
            bars.append(figures.TotalBar("raw", RAW_COLOUR, 0, raw))
        panels[name] = bars
    return figures.total_bytes(panels)
