"""The experiments' pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, MultipleLocator, NullLocator

from experiments.measures.savings import frontier
from vaecomp_native.demo.report.drawing import (
    COLOURS,
    INK,
    NOTHING,
    Line,
    Panels,
    about,
    annotate,
    draw_line,
    in_words,
    label_end,
    picture,
    styled,
    svg,
)


def size_against_time(models: Mapping[str, tuple[int, float]]) -> Markup:
    """Training time of the VAE against the model's size: label -> (parameters, seconds)."""
    points = [
        Line(label, COLOURS[0], [(parameters / 1000, seconds)], bold=False)
        for label, (parameters, seconds) in models.items()
    ]

    def draw(axes: Axes, title: str, lines: Sequence[Line]) -> None:
        for one in lines:
            x, y = zip(*one.points, strict=True)
            axes.scatter(x, y, color=one.colour, s=36, zorder=3)
            annotate(axes, one.label, one.points[0])
        axes.margins(0.15)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("parameters of the model (thousands)")
        axes.set_ylabel("training time (s)")
        axes.grid()

    text = "Size of the model against training time of its VAE"
    return picture(text, {"": points}, draw, height=2.8, legend=False)


def rate_curves(panels: Panels, allowed: Sequence[float]) -> Markup:
    """Ratio against loss of accuracy, one panel a network: every file, and each codec's best.

    A line joins the files that no smaller file of the codec beats. Dotted lines mark the
    ``allowed`` losses; half a point beyond zero and beyond the last of them the picture ends.
    """
    limit = max(allowed, default=0.0) + 0.5

    def draw(axes: Axes, title: str, lines: Sequence[Line]) -> None:
        for one in lines:
            best = frontier((-ratio, loss) for loss, ratio in one.points)
            draw_line(axes, one, one.points, [(loss, -ratio) for ratio, loss in best])
        for loss in allowed:
            axes.axvline(loss, color="#808080", linewidth=0.8, linestyle=":")
        _ratio_axis(axes)
        axes.set_xlim(-0.5, limit)
        axes.xaxis.set_major_locator(MultipleLocator(0.5))
        axes.set_xlabel("loss of accuracy on validation digits (points)")
        axes.set_ylabel("self-contained ratio")

    text = "Ratio against loss of accuracy, one panel a network"
    return picture(text, panels, draw, scales=dict.fromkeys(panels, "y"), most=limit)


def error_curves(panels: Panels, errors: Mapping[str, str], most_bits: float) -> Markup:
    """Errors, logarithmic, against bits a number up to ``most_bits``, one panel a data set.

    A line joins the points that no other one of the quantizer with as few bits beats. ``errors`` says what
    the error of each panel is.
    """

    def draw(axes: Axes, title: str, lines: Sequence[Line]) -> None:
        for one in lines:
            draw_line(axes, one, [], frontier(one.points))
        axes.set_xlim(0, most_bits)
        axes.grid()
        axes.set_xlabel("bits a number")
        axes.set_ylabel(errors[title])

    text = "Errors against bits, one panel a data set"
    return picture(text, panels, draw, scales=dict.fromkeys(panels, "y"), most=most_bits)


def accuracy_against_bytes(lines: Sequence[Line], levels: Mapping[str, float]) -> Markup:
    """Accuracy in percent against bytes, logarithmic, of pairs (bytes, accuracy): every point, and each series' best.

    Dotted lines mark the ``levels``.
    """

    def draw(axes: Axes, title: str, lines: Sequence[Line]) -> None:
        for one in lines:
            best = frontier((size, -percent) for size, percent in one.points)
            draw_line(axes, one, [], [(size, -percent) for size, percent in best])
            sizes, percents = zip(*one.points, strict=True)
            axes.scatter(sizes, percents, color=one.colour, s=22, zorder=4)
        for label, percent in levels.items():
            if math.isfinite(percent):
                _draw_level(axes, f"{label} {percent:.1f} %", percent)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(_bytes))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.grid()
        axes.set_xlabel("bytes a member")
        axes.set_ylabel("mean accuracy on test digits (%)")

    text = "Accuracy against bytes a member"
    return picture(text, {"": lines}, draw, scales={"": "x"}, height=3.8, margin=0)


@dataclass(frozen=True)
class Crossing:
    """Where one line falls below the others for good."""

    label: str
    x: float
    y: float


def bytes_against_members(
    lines: Sequence[Line], crossing: Crossing | None, measured: int
) -> Markup:
    """Total bytes against the number of members, both logarithmic, of pairs (members, bytes).

    A dotted line marks the number of members that was ``measured``, a ring the crossing.
    """

    def draw(axes: Axes, title: str, lines: Sequence[Line]) -> None:
        for one in lines:
            draw_line(axes, one, [], one.points)
        axes.axvline(measured, color="#808080", linewidth=0.9, linestyle=":")
        if crossing is not None:
            axes.scatter(crossing.x, crossing.y, s=70, facecolors="none", edgecolors=INK, zorder=4)
            annotate(axes, crossing.label, (crossing.x, crossing.y), offset=(9, -12))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.yaxis.set_major_formatter(FuncFormatter(_bytes))
        axes.grid()
        axes.set_xlabel("members")
        axes.set_ylabel("bytes of all together")

    text = "Bytes of all together against the number of members"
    return picture(text, {"": lines}, draw, scales={"": "xy"}, height=3.8, margin=0)


def along_series(panels: Panels, quantity: str, logarithmic: Sequence[str] = ()) -> Markup:
    """Pairs (checkpoint, value) as lines, one panel each; ``quantity`` is what they show, in some panels on a ``logarithmic`` axis."""

    def draw(axes: Axes, title: str, lines: Sequence[Line]) -> None:
        for one in lines:
            draw_line(axes, one, [], one.points)
        if title in logarithmic:
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_minor_locator(NullLocator())
        if quantity == "bytes":
            axes.yaxis.set_major_formatter(FuncFormatter(_bytes))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid()
        axes.set_xlabel("checkpoint")
        axes.set_ylabel(quantity)
        # Not one for all: panels have codecs of their own.
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=1)

    text = f"Checkpoints along the series: {quantity}"
    scales = dict.fromkeys(logarithmic, "y")
    return picture(text, panels, draw, scales=scales, legend=False)


@dataclass(frozen=True)
class TotalBar:
    """All bytes of a codec: what is shared, and everything else."""

    label: str
    colour: str
    shared_bytes: int
    own_bytes: int


def total_bytes(panels: Mapping[str, Sequence[TotalBar]]) -> Markup:
    """Bars of shared (hatched) and own bytes, one panel below the other, each with its own scale."""
    text = "All bytes of the series by codec"
    words = [about(title, NOTHING) for title, bars in panels.items() if not bars]
    shown = {title: bars for title, bars in panels.items() if bars}
    if not shown:
        return in_words(text)
    rows = [len(bars) for bars in shown.values()]
    with styled():
        figure = Figure(figsize=(8.4, 0.9 * len(rows) + 0.3 * sum(rows)), layout="constrained")
        grid = figure.subplots(len(rows), 1, squeeze=False, height_ratios=[n + 1 for n in rows])
        for axes, (title, bars) in zip(grid[:, 0], shown.items(), strict=True):
            axes.set_title(title, loc="left")
            for row, bar in enumerate(bars):
                total = bar.shared_bytes + bar.own_bytes
                own = bar.own_bytes / 1000
                axes.barh(row, own, left=bar.shared_bytes / 1000, color=bar.colour, height=0.65)
                axes.barh(
                    row,
                    bar.shared_bytes / 1000,
                    color=bar.colour,
                    height=0.65,
                    alpha=0.5,
                    hatch="////",
                    edgecolor=INK,
                    linewidth=0,
                )
                label_end(axes, total, row)
            axes.set_yticks(range(len(bars)), [bar.label for bar in bars])
            axes.invert_yaxis()
            axes.set_xlabel("kB (1,000 bytes)")
            axes.margins(x=0.18)
        return svg(figure, text, words)


def _draw_level(axes: Axes, label: str, y: float) -> None:
    """A dotted line from side to side with its label at the right."""
    axes.axhline(y, color="#808080", linewidth=0.9, linestyle=":")
    axes.annotate(
        label,
        (1, y),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        color=INK,
    )


def _bytes(value: float, _: int) -> str:
    """A tick of a logarithmic axis: 100 B, 10 kB, 1 MB."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= unit:
            return f"{value / unit:g} {name}"
    return f"{value:g} B"


def _ratio_axis(axes: Axes) -> None:
    """Plain numbers on a logarithmic axis: 5x, 10x, 20x."""
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y")
