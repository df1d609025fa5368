"""Pictures of the reports as inline SVG, drawn with matplotlib.

Text and axes take the page's own colour (``currentColor``) and the background is transparent, so
that one picture suits a light and a dark page. What has no place in a picture is said in words below
it, and a picture of nothing is words alone.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, MultipleLocator, NullLocator

from vaecomp_native.evaluation.savings import frontier
from vaecomp_native.zoo.training import EpochRecord

PARTS: dict[str, str] = {
    "decoder": "#d55e00",
    "latents": "#2f86c9",
    "weights": "#cc79a7",
    "tables": "#e69f00",
    "passthrough": "#009e73",
    "container": "#8c8c8c",
}
"""Parts of an archive in the order in which they are drawn, and their colours."""

NOTHING = "nothing to show."
RAW_COLOUR = "#b0b0b0"
SERIES = ("#2f86c9", "#d55e00", "#009e73", "#cc79a7", "#e69f00")

# A colour that nothing else uses; it becomes the page's own text colour.
_INK = "#010203"

_STYLE: Any = {
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "axes.titlecolor": _INK,
    "axes.titlesize": 10,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": "#808080",
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.hashsalt": "vaecomp",
}


@dataclass(frozen=True)
class RateSeries:
    """A line or a cloud of (x, y) pairs, mostly of one codec; ``bold`` series stand out."""

    label: str
    colour: str
    points: Sequence[tuple[float, float]]
    bold: bool


Panels = Mapping[str, Sequence[RateSeries]]
"""Series that are drawn together, by the title above them."""


def bytes_by_part(raw_bytes: int, archives: Mapping[str, Mapping[str, int]]) -> Markup:
    """Archives as stacked bars (label -> bytes by part) below the bar of the raw weights."""
    text = "Bytes of each archive by part, beside the raw weights"
    if not archives:
        return _in_words(text)
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(height=0.75 + 0.5 * (1 + len(archives)))
        axes.barh(0, raw_bytes / 1000, color=RAW_COLOUR, height=0.6)
        _end_label(axes, raw_bytes, 0)
        for row, parts in enumerate(archives.values(), start=1):
            left = 0.0
            for part, colour in PARTS.items():
                width = parts[part] / 1000
                axes.barh(row, width, left=left, color=colour, height=0.6)
                left += width
            _end_label(axes, parts["total"], row)
        axes.set_yticks(range(1 + len(archives)), ["raw weights", *archives])
        axes.invert_yaxis()
        axes.set_xlabel("kB (1,000 bytes)")
        axes.margins(x=0.14)
        used = [part for part in PARTS if any(parts[part] for parts in archives.values())]
        handles = [Patch(color=PARTS[part], label=part) for part in used]
        axes.legend(handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(PARTS))
        return _svg(figure, text)


def weights_before_after(
    name: str, original: np.ndarray, decoded: Mapping[str, np.ndarray]
) -> Markup:
    """A layer's weights [rows, columns]: original, then each decoding and its error x10."""
    text = f"Weights of {name} before and after, one colour scale"
    if not original.size:
        return _in_words(text)
    limit = float(np.abs(original, where=np.isfinite(original), out=np.zeros_like(original)).max())
    images = [("original", original)]
    for label, weights in decoded.items():
        with np.errstate(all="ignore"):
            errors = 10 * (weights - original)
        images += [(f"decoded, {label}", weights), ("error x10", errors)]
    with matplotlib.rc_context(_STYLE):
        height, width = original.shape
        figure = Figure(figsize=(8.4, 0.35 + len(images) * (0.32 + 7.0 * height / width)))
        figure.set_layout_engine("constrained")
        grid = figure.subplots(len(images), 1, squeeze=False)[:, 0]
        for axes, (label, image) in zip(grid, images, strict=True):
            picture = axes.imshow(
                image, cmap="RdBu", vmin=-(limit or 1.0), vmax=limit or 1.0, aspect="equal"
            )
            axes.set_title(label, loc="left")
            axes.set_axis_off()
        figure.colorbar(picture, ax=list(grid), shrink=0.8, pad=0.02).outline.set_visible(False)
        missing = [_left_out(label, int((~np.isfinite(i)).sum())) for label, i in images]
        return _svg(figure, text, missing)


def error_histogram(errors: Mapping[str, np.ndarray], spread: float) -> Markup:
    """Histograms of decoded minus original weights; ``spread`` is the weights' own deviation."""
    text = "Histogram of the errors of the decoded weights"
    finite = {label: values[np.isfinite(values)] for label, values in errors.items()}
    words = [_left_out(label, errors[label].size - own.size) for label, own in finite.items()]
    shown = {label: values for label, values in finite.items() if values.size}
    if not shown:
        return _in_words(text, words)
    limit = max(float(np.quantile(np.abs(values), 0.999)) for values in shown.values()) or 1e-9
    edges = np.linspace(-limit, limit, 121).tolist()
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(height=2.8)
        for colour, (label, values) in zip(SERIES, shown.items(), strict=False):
            rms = float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
            share = f", {100 * rms / spread:.3g} % of the weights'" if spread > 0 else ""
            axes.hist(
                np.clip(values, -limit, limit),
                edges,
                histtype="step",
                color=colour,
                linewidth=1.5,
                label=f"{label}: RMS error {rms:.2g}{share}",
            )
        axes.set_yscale("log")
        axes.set_xlabel("decoded - original (the rare larger errors are in the outermost bars)")
        axes.set_ylabel("weights")
        axes.grid(axis="y")
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1))
        return _svg(figure, text, words)


def classifier_curve(curve: Sequence[EpochRecord]) -> Markup:
    """Training loss and validation accuracy of a classifier, epoch by epoch."""
    losses = [(record.epoch, record.loss) for record in curve]
    accuracies = [(record.epoch, record.validation_accuracy) for record in curve]
    panels = {
        "training loss (nats)": [RateSeries("loss", SERIES[0], losses, bold=False)],
        "validation accuracy (%)": [RateSeries("accuracy", SERIES[1], accuracies, bold=False)],
    }

    def draw(axes: Axes, title: str, series: Sequence[RateSeries]) -> None:
        for one in series:
            _draw_series(axes, one, one.points, one.points)
        _epoch_axis(axes)

    return _picture("Training curve of the classifier", panels, draw, height=2.5, legend=False)


def vae_curves(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> Markup:
    """Loss of the VAEs epoch by epoch, one panel each: training variants and validation ones."""
    panels = {
        title: [
            RateSeries(text, colour, [(row["epoch"], row[key]) for row in curve], bold=False)
            for colour, (key, text) in zip(SERIES, VAE_LOSSES.items(), strict=False)
        ]
        for title, curve in curves.items()
    }

    def draw(axes: Axes, title: str, series: Sequence[RateSeries]) -> None:
        for one in series:
            _draw_series(axes, one, [], one.points)
        _epoch_axis(axes)

    scales = dict.fromkeys(panels, "y")
    text = "Training curves of the variational autoencoders"
    return _picture(text, panels, draw, scales=scales, height=2.3)


VAE_LOSSES: dict[str, str] = {
    "train_loss": "training variants",
    "validation_loss": "validation variants",
}
"""Columns of a training curve that are drawn, and what they are."""


def size_against_time(models: Mapping[str, tuple[int, float]]) -> Markup:
    """Training time of the VAE against the model's size: label -> (parameters, seconds)."""
    points = [
        RateSeries(label, SERIES[0], [(parameters / 1000, seconds)], bold=False)
        for label, (parameters, seconds) in models.items()
    ]

    def draw(axes: Axes, title: str, series: Sequence[RateSeries]) -> None:
        for one in series:
            x, y = zip(*one.points, strict=True)
            axes.scatter(x, y, color=one.colour, s=36, zorder=3)
            _annotate(axes, one.label, one.points[0])
        axes.margins(0.15)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("parameters of the model (thousands)")
        axes.set_ylabel("training time (s)")
        axes.grid()

    text = "Size of the model against training time of its VAE"
    return _picture(text, {"": points}, draw, height=2.8, legend=False)


def rate_curves(panels: Panels, allowed: Sequence[float]) -> Markup:
    """Ratio against loss of accuracy, one panel a network: every file, and each codec's best.

    A line joins the files that no smaller file of the codec beats. Dotted lines mark the
    ``allowed`` losses; half a point beyond zero and beyond the last of them the picture ends.
    """
    limit = max(allowed, default=0.0) + 0.5

    def draw(axes: Axes, title: str, series: Sequence[RateSeries]) -> None:
        for one in series:
            best = frontier((-ratio, loss) for loss, ratio in one.points)
            _draw_series(axes, one, one.points, [(loss, -ratio) for ratio, loss in best])
        for loss in allowed:
            axes.axvline(loss, color="#808080", linewidth=0.8, linestyle=":")
        _ratio_axis(axes)
        axes.set_xlim(-0.5, limit)
        axes.xaxis.set_major_locator(MultipleLocator(0.5))
        axes.set_xlabel("loss of accuracy on validation digits (points)")
        axes.set_ylabel("self-contained ratio")

    text = "Ratio against loss of accuracy, one panel a network"
    return _picture(text, panels, draw, scales=dict.fromkeys(panels, "y"), most=limit)


def error_curves(panels: Panels, errors: Mapping[str, str], most_bits: float) -> Markup:
    """Errors, logarithmic, against bits a number up to ``most_bits``, one panel a data set.

    A line joins the points that no other one of the quantizer with as few bits beats. ``errors`` says what
    the error of each panel is.
    """

    def draw(axes: Axes, title: str, series: Sequence[RateSeries]) -> None:
        for one in series:
            _draw_series(axes, one, [], frontier(one.points))
        axes.set_xlim(0, most_bits)
        axes.grid()
        axes.set_xlabel("bits a number")
        axes.set_ylabel(errors[title])

    text = "Errors against bits, one panel a data set"
    return _picture(text, panels, draw, scales=dict.fromkeys(panels, "y"), most=most_bits)


def accuracy_against_bytes(series: Sequence[RateSeries], levels: Mapping[str, float]) -> Markup:
    """Accuracy in percent against bytes, logarithmic, of pairs (bytes, accuracy): every point, and each series' best.

    Dotted lines mark the ``levels``.
    """

    def draw(axes: Axes, title: str, series: Sequence[RateSeries]) -> None:
        for one in series:
            best = frontier((size, -percent) for size, percent in one.points)
            _draw_series(axes, one, [], [(size, -percent) for size, percent in best])
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
    return _picture(text, {"": series}, draw, scales={"": "x"}, height=3.8, margin=0)


@dataclass(frozen=True)
class Crossing:
    """Where one line falls below the others for good."""

    label: str
    x: float
    y: float


def bytes_against_members(
    series: Sequence[RateSeries], crossing: Crossing | None, measured: int
) -> Markup:
    """Total bytes against the number of members, both logarithmic, of pairs (members, bytes).

    A dotted line marks the number of members that was ``measured``, a ring the crossing.
    """

    def draw(axes: Axes, title: str, series: Sequence[RateSeries]) -> None:
        for one in series:
            _draw_series(axes, one, [], one.points)
        axes.axvline(measured, color="#808080", linewidth=0.9, linestyle=":")
        if crossing is not None:
            axes.scatter(crossing.x, crossing.y, s=70, facecolors="none", edgecolors=_INK, zorder=4)
            _annotate(axes, crossing.label, (crossing.x, crossing.y), offset=(9, -12))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.yaxis.set_major_formatter(FuncFormatter(_bytes))
        axes.grid()
        axes.set_xlabel("members")
        axes.set_ylabel("bytes of all together")

    text = "Bytes of all together against the number of members"
    return _picture(text, {"": series}, draw, scales={"": "xy"}, height=3.8, margin=0)


def along_series(panels: Panels, quantity: str, logarithmic: Sequence[str] = ()) -> Markup:
    """Pairs (checkpoint, value) as lines, one panel each; ``quantity`` is what they show, in some panels on a ``logarithmic`` axis."""

    def draw(axes: Axes, title: str, series: Sequence[RateSeries]) -> None:
        for one in series:
            _draw_series(axes, one, [], one.points)
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
    return _picture(text, panels, draw, scales=scales, legend=False)


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
    words = [_about(title, NOTHING) for title, bars in panels.items() if not bars]
    shown = {title: bars for title, bars in panels.items() if bars}
    if not shown:
        return _in_words(text)
    rows = [len(bars) for bars in shown.values()]
    with matplotlib.rc_context(_STYLE):
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
                    edgecolor=_INK,
                    linewidth=0,
                )
                _end_label(axes, total, row)
            axes.set_yticks(range(len(bars)), [bar.label for bar in bars])
            axes.invert_yaxis()
            axes.set_xlabel("kB (1,000 bytes)")
            axes.margins(x=0.18)
        return _svg(figure, text, words)


def _picture(
    text: str,
    panels: Panels,
    draw: Callable[[Axes, str, Sequence[RateSeries]], None],
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
    for title, series in panels.items():
        scale = (scales or {}).get(title, "")
        placed = [[p for p in one.points if _has_place(p, scale)] for one in series]
        given = sum(len(one.points) for one in series)
        missing.append(_left_out(title, given - sum(map(len, placed))))
        near = [[p for p in points if p[0] <= most] for points in placed]
        if any(near):
            pairs = zip(series, near, strict=True)
            shown[title] = [replace(one, points=points) for one, points in pairs if points]
        else:
            empty.append(_about(title, NOTHING))
    if not shown:
        return _in_words(text, missing)
    with matplotlib.rc_context(_STYLE):
        figure, grid = _panels(list(shown), height, margin)
        for axes, (title, series) in zip(grid, shown.items(), strict=True):
            for axis in (scales or {}).get(title, ""):
                axes.set(**{f"{axis}scale": "log"})
            draw(axes, title, series)
        if legend:
            _legend_below(figure, grid)
        return _svg(figure, text, [*missing, *empty])


def _has_place(point: tuple[float, float], logarithmic: str) -> bool:
    """Whether axes, of which some are ``logarithmic``, have a place for a point."""
    return all(
        math.isfinite(value) and (value > 0 or axis not in logarithmic)
        for axis, value in zip("xy", point, strict=True)
    )


def _left_out(title: str, number: int) -> str:
    """Words about values that axes have no place for; none if there are none."""
    if not number:
        return ""
    values = "1 value is" if number == 1 else f"{number:,} values are"
    why = "not finite, or not above 0 where the axis is logarithmic"
    return _about(title, f"{values} not shown: {why}.")


def _about(title: str, words: str) -> str:
    return f"{title}: {words}" if title else words[0].upper() + words[1:]


def _in_words(text: str, words: Iterable[str] = ()) -> Markup:
    """What stands in the place of a picture with nothing in it; ``text`` is what it would have shown."""
    return _paragraph([_about(text, NOTHING), *words])


def _paragraph(sentences: Iterable[str]) -> Markup:
    said = " ".join(dict.fromkeys(filter(None, sentences)))
    return Markup('<p class="soft">{}</p>').format(said) if said else Markup()


def _annotate(
    axes: Axes, label: str, point: tuple[float, float], offset: tuple[int, int] = (6, 6)
) -> None:
    axes.annotate(label, point, xytext=offset, textcoords="offset points", color=_INK)


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
        color=_INK,
    )


def _bytes(value: float, _: int) -> str:
    """A tick of a logarithmic axis: 100 B, 10 kB, 1 MB."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= unit:
            return f"{value / unit:g} {name}"
    return f"{value:g} B"


def _draw_series(
    axes: Axes,
    series: RateSeries,
    dots: Sequence[tuple[float, float]],
    line: Sequence[tuple[float, float]],
) -> None:
    layer = 3 if series.bold else 2
    axes.scatter(
        [x for x, _ in dots],
        [y for _, y in dots],
        color=series.colour,
        s=9 if series.bold else 5,
        alpha=0.45,
        linewidths=0,
        zorder=layer,
    )
    axes.plot(
        [x for x, _ in line],
        [y for _, y in line],
        color=series.colour,
        linewidth=2.0 if series.bold else 0.9,
        # A line of one point has no length.
        marker="o" if len(line) == 1 else "",
        markersize=4,
        label=series.label,
        zorder=layer,
    )


def _ratio_axis(axes: Axes) -> None:
    """Plain numbers on a logarithmic axis: 5x, 10x, 20x."""
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y")


def _figure(height: float) -> tuple[Figure, Axes]:
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


def _epoch_axis(axes: Axes) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid()


def _end_label(axes: Axes, total: int, row: int) -> None:
    """The number of bytes behind the end of a bar."""
    axes.annotate(
        f"{total:,} B",
        (total / 1000, row),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        color=_INK,
    )


def _svg(figure: Figure, label: str, words: Iterable[str] = ()) -> Markup:
    """The figure as an SVG element that scales with the page and has a text for screen readers, and words below it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    document = buffer.getvalue()
    element = document[document.index("<svg") :].replace(_INK, "currentColor")
    element = element.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
    return Markup(element) + _paragraph(words)
