"""The demonstration's five pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from vaecomp_native.demo.report.drawing import (
    COLOURS,
    RAW_COLOUR,
    Line,
    draw_line,
    in_words,
    label_end,
    left_out,
    new_figure,
    picture,
    styled,
    svg,
)
from vaecomp_native.demo.training import EpochRecord

PARTS: dict[str, str] = {
    "decoder": "#d55e00",
    "latents": "#2f86c9",
    "weights": "#cc79a7",
    "tables": "#e69f00",
    "passthrough": "#009e73",
    "container": "#8c8c8c",
}
"""Parts of an archive in the order in which they are drawn, and their colours."""

VAE_LOSSES: dict[str, str] = {
    "train_loss": "training variants",
    "validation_loss": "validation variants",
}
"""Columns of a training curve that are drawn, and what they are."""


def bytes_by_part(raw_bytes: int, archives: Mapping[str, Mapping[str, int]]) -> Markup:
    """Archives as stacked bars (label -> bytes by part) below the bar of the raw weights."""
    text = "Bytes of each archive by part, beside the raw weights"
    if not archives:
        return in_words(text)
    with styled():
        figure, axes = new_figure(height=0.75 + 0.5 * (1 + len(archives)))
        axes.barh(0, raw_bytes / 1000, color=RAW_COLOUR, height=0.6)
        label_end(axes, raw_bytes, 0)
        for row, parts in enumerate(archives.values(), start=1):
            left = 0.0
            for part, colour in PARTS.items():
                width = parts[part] / 1000
                axes.barh(row, width, left=left, color=colour, height=0.6)
                left += width
            label_end(axes, parts["total"], row)
        axes.set_yticks(range(1 + len(archives)), ["raw weights", *archives])
        axes.invert_yaxis()
        axes.set_xlabel("kB (1,000 bytes)")
        axes.margins(x=0.14)
        used = [part for part in PARTS if any(parts[part] for parts in archives.values())]
        handles = [Patch(color=PARTS[part], label=part) for part in used]
        axes.legend(handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(PARTS))
        return svg(figure, text)


def weights_before_after(
    name: str, original: np.ndarray, decoded: Mapping[str, np.ndarray]
) -> Markup:
    """A layer's weights [rows, columns]: original, then each decoding and its error x10."""
    text = f"Weights of {name} before and after, one colour scale"
    if not original.size:
        return in_words(text)
    limit = float(np.abs(original, where=np.isfinite(original), out=np.zeros_like(original)).max())
    images = [("original", original)]
    for label, weights in decoded.items():
        with np.errstate(all="ignore"):
            errors = 10 * (weights - original)
        images += [(f"decoded, {label}", weights), ("error x10", errors)]
    with styled():
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
        missing = [left_out(label, int((~np.isfinite(i)).sum())) for label, i in images]
        return svg(figure, text, missing)


def error_histogram(errors: Mapping[str, np.ndarray], spread: float) -> Markup:
    """Histograms of decoded minus original weights; ``spread`` is the weights' own deviation."""
    text = "Histogram of the errors of the decoded weights"
    finite = {label: values[np.isfinite(values)] for label, values in errors.items()}
    words = [left_out(label, errors[label].size - own.size) for label, own in finite.items()]
    shown = {label: values for label, values in finite.items() if values.size}
    if not shown:
        return in_words(text, words)
    limit = max(float(np.quantile(np.abs(values), 0.999)) for values in shown.values()) or 1e-9
    edges = np.linspace(-limit, limit, 121).tolist()
    with styled():
        figure, axes = new_figure(height=2.8)
        for colour, (label, values) in zip(COLOURS, shown.items(), strict=False):
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
        return svg(figure, text, words)


def classifier_curve(curve: Sequence[EpochRecord]) -> Markup:
    """Training loss and validation accuracy of a classifier, epoch by epoch."""
    losses = [(record.epoch, record.loss) for record in curve]
    accuracies = [(record.epoch, record.validation_accuracy) for record in curve]
    panels = {
        "training loss (nats)": [Line("loss", COLOURS[0], losses, bold=False)],
        "validation accuracy (%)": [Line("accuracy", COLOURS[1], accuracies, bold=False)],
    }

    def draw(axes: Axes, title: str, lines: Sequence[Line]) -> None:
        for one in lines:
            draw_line(axes, one, one.points, one.points)
        _epoch_axis(axes)

    return picture("Training curve of the classifier", panels, draw, height=2.5, legend=False)


def vae_curves(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> Markup:
    """Loss of the VAEs epoch by epoch, one panel each: training variants and validation ones."""
    panels = {
        title: [
            Line(text, colour, [(row["epoch"], row[key]) for row in curve], bold=False)
            for colour, (key, text) in zip(COLOURS, VAE_LOSSES.items(), strict=False)
        ]
        for title, curve in curves.items()
    }

    def draw(axes: Axes, title: str, lines: Sequence[Line]) -> None:
        for one in lines:
            draw_line(axes, one, [], one.points)
        _epoch_axis(axes)

    scales = dict.fromkeys(panels, "y")
    text = "Training curves of the variational autoencoders"
    return picture(text, panels, draw, scales=scales, height=2.3)


def _epoch_axis(axes: Axes) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid()
