"""The page of the paper's evaluation."""

from __future__ import annotations

from experiments import published
from experiments.networks.classifiers import LAYERS, PARAMETERS
from experiments.reports import figures
from experiments.reports.page import page_of
from experiments.results.paper import PaperResult
from vaecomp_native.demo import machine
from vaecomp_native.demo.measure import AMORTIZED_MODELS
from vaecomp_native.demo.report.cards import cards, disagreements
from vaecomp_native.demo.report.figures import bytes_by_part, vae_curves

SHOWN_DIGITS = 16


def render(result: PaperResult) -> str:
    """The HTML page of the networks that are finished."""
    networks = result.networks
    return page_of(
        "paper.html.j2",
        models=networks,
        test=result.test,
        settings=result.settings,
        machine=machine.describe(),
        citation=published.CITATION,
        published_ratio=published.RATIO,
        layers=LAYERS,
        published_parameters=PARAMETERS,
        published=published.ACCURACY,
        amortized_models=AMORTIZED_MODELS,
        bytes_figures={
            model.name: bytes_by_part(
                model.paper.info.raw_bytes,
                {m.codec: m.info.bytes for m, _ in model.archives},
            )
            for model in networks
        },
        curves_figure=vae_curves({m.name.upper(): m.paper.history for m in networks}),
        time_figure=figures.size_against_time(
            {
                m.name.upper(): (m.paper.info.parameters, m.paper.history[-1]["seconds"])
                for m in networks
            }
        ),
        digits={m.name: cards(result.test, m.predictions, SHOWN_DIGITS) for m in networks},
        disagreements={m.name: disagreements(m.predictions) for m in networks},
    )
