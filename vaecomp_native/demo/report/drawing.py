"""Pictures of reports as inline SVG, drawn with matplotlib: what all of them share.

Text and axes take the page's own colour (``currentColor``) and the background is transparent, so
that one picture suits a light and a dark page. What has no place in a picture is said in words below
it, and a picture of nothing is words alone.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

NOTHING = "nothing to show."
RAW_COLOUR = "#b0b0b0"
COLOURS = ("#2f86c9", "#d55e00", "#009e73", "#cc79a7", "#e69f00")

# A colour that nothing else uses; it becomes the page's own text colour.
INK = "#010203"

_STYLE: Any = {
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": "#808080",
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.hashsalt": "vaecomp",
}


@dataclass(frozen=True)
class Line:
    """A line or a cloud of (x, y) pairs, mostly of one codec; ``bold`` ones stand out."""

    label: str
    colour: str
    points: Sequence[tuple[float, float]]
    bold: bool


Panels = Mapping[str, Sequence[Line]]
"""Lines that are drawn together, by the title above them."""


def styled() -> AbstractContextManager[None]:
    """The look of all pictures, inside the block."""
    return matplotlib.rc_context(_STYLE)


def picture(
    text: str,
    panels: Panels,
    draw: Callable[[Axes, str, Sequence[Line]], None],
    *,
    scales: Mapping[str, str] | None = None,
    most: float = math.inf,
    height: float = 2.9,
    margin: float = 0.6,
    legend: bool = True,
) -> Markup:
    """Each panel that has something to show, drawn by ``draw``, and words about the rest.

    ``scales`` names the logarithmic axes of a panel: "x", "y" or "xy". What lies beyond ``most`` on the
    first axis is cut off.
    """
    missing, empty, shown = [], [], {}
    for title, lines in panels.items():
        scale = (scales or {}).get(title, "")
        placed = [[p for p in one.points if _has_place(p, scale)] for one in lines]
        given = sum(len(one.points) for one in lines)
        missing.append(left_out(title, given - sum(map(len, placed))))
        near = [[p for p in points if p[0] <= most] for points in placed]
        if any(near):
            pairs = zip(lines, near, strict=True)
            shown[title] = [replace(one, points=points) for one, points in pairs if points]
        else:
            empty.append(about(title, NOTHING))
    if not shown:
        return in_words(text, missing)
    with styled():
        figure, grid = _panels(list(shown), height, margin)
        for axes, (title, lines) in zip(grid, shown.items(), strict=True):
            for axis in (scales or {}).get(title, ""):
                axes.set(**{f"{axis}scale": "log"})
            draw(axes, title, lines)
        if legend:
            _legend_below(figure, grid)
        return svg(figure, text, [*missing, *empty])


def _has_place(point: tuple[float, float], logarithmic: str) -> bool:
    """Whether axes, of which some are ``logarithmic``, have a place for a point."""
    return all(
        math.isfinite(value) and (value > 0 or axis not in logarithmic)
        for axis, value in zip("xy", point, strict=True)
    )


def left_out(title: str, number: int) -> str:
    """Words about values that axes have no place for; none if there are none."""
    if not number:
        return ""
    values = "1 value is" if number == 1 else f"{number:,} values are"
    why = "not finite, or not above 0 where the axis is logarithmic"
    return about(title, f"{values} not shown: {why}.")


def about(title: str, words: str) -> str:
    """A sentence about a panel, or about the whole picture if it has no title."""
    return f"{title}: {words}" if title else words[0].upper() + words[1:]


def in_words(text: str, words: Iterable[str] = ()) -> Markup:
    """What stands in the place of a picture with nothing in it; ``text`` is what it would have shown."""
    return _paragraph([about(text, NOTHING), *words])


def _paragraph(sentences: Iterable[str]) -> Markup:
    said = " ".join(dict.fromkeys(filter(None, sentences)))
    return Markup('<p class="soft">{}</p>').format(said) if said else Markup()


def draw_line(
    axes: Axes,
    line: Line,
    dots: Sequence[tuple[float, float]],
    joined: Sequence[tuple[float, float]],
) -> None:
    """Pairs as ``dots`` and pairs that are ``joined``, in the look of ``line``."""
    layer = 3 if line.bold else 2
    axes.scatter(
        [x for x, _ in dots],
        [y for _, y in dots],
        color=line.colour,
        s=9 if line.bold else 5,
        alpha=0.45,
        linewidths=0,
        zorder=layer,
    )
    axes.plot(
        [x for x, _ in joined],
        [y for _, y in joined],
        color=line.colour,
        linewidth=2.0 if line.bold else 0.9,
        # A line of one point has no length.
        marker="o" if len(joined) == 1 else "",
        markersize=4,
        label=line.label,
        zorder=layer,
    )


def annotate(
    axes: Axes, label: str, point: tuple[float, float], offset: tuple[int, int] = (6, 6)
) -> None:
    """Words beside a point."""
    axes.annotate(label, point, xytext=offset, textcoords="offset points", color=INK)


def label_end(axes: Axes, total: int, row: int) -> None:
    """The number of bytes behind the end of a bar."""
    axes.annotate(
        f"{total:,} B",
        (total / 1000, row),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        color=INK,
    )


def new_figure(height: float) -> tuple[Figure, Axes]:
    """A figure as wide as the page, with axes."""
    figure = Figure(figsize=(8.4, height), layout="constrained")
    return figure, figure.subplots()


def _panels(titles: Sequence[str], height: float, margin: float) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each title, two beside each other."""
    columns = min(2, len(titles))
    rows = -(-len(titles) // columns)
    figure = Figure(figsize=(8.4, margin + height * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for axes, title in zip(grid, titles, strict=False):
        axes.set_title(title, loc="left")
    for axes in grid[len(titles) :]:
        axes.set_axis_off()
    return figure, grid[: len(titles)]


def _legend_below(figure: Figure, grid: Sequence[Axes]) -> None:
    """One legend for all panels, with each label once."""
    found: dict[str, Any] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=4)


def svg(figure: Figure, label: str, words: Iterable[str] = ()) -> Markup:
    """The figure as an SVG element that scales with the page and has a text for screen readers, and words below it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    document = buffer.getvalue()
    element = document[document.index("<svg") :].replace(INK, "currentColor")
    element = element.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
    return Markup(element) + _paragraph(words)
