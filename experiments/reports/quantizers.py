"""The page of the experiment with quantizers."""

from __future__ import annotations

from experiments.reports import figures
from experiments.reports.page import page_of
from experiments.reports.rate import COLOURS
from experiments.results.quantizers import DataSet, QuantizerResult, Saving
from vaecomp_native.demo.report.drawing import Line

SUBJECT = "vbq"
MOST_BITS = 5.0
"""Where the pictures end."""
MEASURES: dict[tuple[str, str], str] = {
    ("distortion", "bits"): "posterior distortion",
    ("distortion", "symbol_bits"): "posterior distortion, symbols only",
    ("effect", "bits"): "effect",
    ("effect", "symbol_bits"): "effect, symbols only",
}
"""What a saving is measured by: its error and its rate."""


def render(result: QuantizerResult) -> str:
    """The HTML page of the data sets that are finished."""
    sets = {data.name: data for data in result.data_sets}
    return page_of(
        "quantizers.html.j2",
        result=result,
        settings=result.settings,
        machine=result.machine,
        columns=list(
            dict.fromkeys(
                bits
                for data in result.data_sets
                for saving in data.savings
                for bits in saving.percent_fewer
            )
        ),
        savings={name: saving_table(data, SUBJECT) for name, data in sets.items()},
        others={
            name: {
                saving.quantizer: saving
                for saving in data.savings
                if (saving.error, saving.rate) == ("distortion", "bits")
            }
            for name, data in sets.items()
        },
        distortion_figure=figures.error_curves(
            {name: _series(data, "distortion") for name, data in sets.items()},
            dict.fromkeys(sets, "posterior distortion, nats a number"),
            MOST_BITS,
        ),
        effect_figure=figures.error_curves(
            {name: _series(data, "effect") for name, data in sets.items()},
            {name: data.effect_name for name, data in sets.items()},
            MOST_BITS,
        ),
    )


def saving_table(data: DataSet, quantizer: str) -> dict[str, Saving]:
    """A quantizer's savings on a data set, by what they are measured by."""
    found = {(s.error, s.rate): s for s in data.savings if s.quantizer == quantizer}
    return {text: found[measure] for measure, text in MEASURES.items() if measure in found}


def _series(data: DataSet, error: str) -> list[Line]:
    """A curve for each quantizer, as (bits, error) pairs."""
    counted = [point for point in data.points if point.best_by in ("bits", "both")]
    return [
        Line(
            name,
            COLOURS[f"quantized-{name}"],
            [(p.bits, getattr(p, error)) for p in counted if p.quantizer == name],
            bold=name in (SUBJECT, "uniform"),
        )
        for name in dict.fromkeys(point.quantizer for point in data.points)
    ]
