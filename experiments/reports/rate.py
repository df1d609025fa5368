"""The page of the rate experiment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from experiments.baselines.nncodec import NONWEIGHT_QP
from experiments.networks.classifiers import LAYERS
from experiments.reports import figures
from experiments.reports.page import page_of
from experiments.results.rate import ChosenFile, RateResult
from vaecomp_native.demo.report.drawing import Line

OURS, THEIRS = "quantized", "nncodec"
"""The two codecs that are set against each other."""

COLOURS: dict[str, str] = {
    "quantized": "#2f86c9",
    "nncodec": "#d55e00",
    "quantized-uniform": "#8c8c8c",
    "quantized-ecsq": "#009e73",
    "quantized-ecsq-lloyd": "#cc79a7",
    "quantized-kmeans": "#e69f00",
    "quantized-vbq": "#8a6fd1",
}


@dataclass(frozen=True)
class Comparison:
    """One network at one allowed loss: this package's file and nncodec's, where there is one."""

    model: str
    allowed_loss: float
    ours: ChosenFile | None
    theirs: ChosenFile | None

    @property
    def smaller(self) -> float | None:
        """By how many percent this package's file is smaller; None without one of the two."""
        if self.ours is None or self.theirs is None:
            return None
        return 100.0 * (1 - self.ours.bytes / self.theirs.bytes)


def comparisons(
    results: Sequence[ChosenFile], models: Iterable[str], losses: Sequence[float]
) -> list[Comparison]:
    """Network by network and allowed loss by allowed loss, whether or not there is a file."""
    found = {(row.model, row.allowed_loss, row.codec): row for row in results}
    return [
        Comparison(model, loss, found.get((model, loss, OURS)), found.get((model, loss, THEIRS)))
        for model in models
        for loss in losses
    ]


def render(result: RateResult) -> str:
    """The HTML page of the networks that are finished."""
    losses = result.allowed_losses
    points = [point for model in result.models.values() for point in model.points]
    return page_of(
        "rate.html.j2",
        result=result,
        settings=result.settings,
        machine=result.machine,
        layers=LAYERS,
        losses=losses,
        codecs=list(dict.fromkeys(point.codec for point in points)),
        qps=sorted({int(p.setting["qp"]) for p in points if p.codec == THEIRS}),
        nonweight_qp=NONWEIGHT_QP,
        comparisons=comparisons(result.results, result.models, losses),
        ratios={
            (row.model, row.codec, row.allowed_loss): row.ratio_self_contained
            for row in result.results
        },
        curves_figure=figures.rate_curves(
            {name.upper(): _series(result, name) for name in result.models}, losses
        ),
    )


def _series(result: RateResult, name: str) -> list[Line]:
    points = result.models[name].points
    return [
        Line(
            codec,
            colour,
            [(p.validation_loss, p.ratio_self_contained) for p in points if p.codec == codec],
            bold=codec in (OURS, THEIRS),
        )
        for codec, colour in COLOURS.items()
        if any(p.codec == codec for p in points)
    ]
