"""The page of the paper's evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from vaecomp_native.evaluation.accuracy import percent_correct
from vaecomp_native.experiments import published
from vaecomp_native.experiments.measure import AMORTIZED_MODELS, LATENT, Measurement
from vaecomp_native.experiments.report import figures, machine, render
from vaecomp_native.experiments.report.digits import DigitCard, cards, disagreements
from vaecomp_native.zoo.mnist import Digits
from vaecomp_native.zoo.networks import LAYERS, PARAMETERS
from vaecomp_native.zoo.training import TrainedClassifier

SHOWN_DIGITS = 16


@dataclass(frozen=True)
class ModelReport:
    """One network's archives, and predictions int64 [N] for all test digits.

    ``sweep`` maps a latent to the archive with the paper-size decoder; ``paper`` is one of them.
    """

    name: str
    trained: TrainedClassifier
    sweep: Mapping[int, Measurement]
    paper: Measurement
    compact: Measurement
    labels: torch.Tensor
    original: torch.Tensor
    sweep_predictions: Mapping[int, torch.Tensor]
    compact_predictions: torch.Tensor

    @property
    def layers(self) -> str:
        """The network in one line."""
        return LAYERS[self.name]

    @property
    def published_parameters(self) -> int:
        """The paper's parameter count."""
        return PARAMETERS[self.name]

    @property
    def published(self) -> published.PublishedAccuracy:
        """The paper's accuracies."""
        return published.ACCURACY[self.name]

    @property
    def accuracy(self) -> float:
        """Test accuracy of the original in percent."""
        return percent_correct(self.original, self.labels)

    @property
    def paper_predictions(self) -> torch.Tensor:
        """Predictions of the archive with the paper-size decoder at the paper's latent."""
        return self.sweep_predictions[LATENT]

    @property
    def paper_accuracy(self) -> float:
        """Test accuracy in percent with the paper-size decoder."""
        return percent_correct(self.paper_predictions, self.labels)

    @property
    def compact_accuracy(self) -> float:
        """Test accuracy in percent with the compact decoder."""
        return percent_correct(self.compact_predictions, self.labels)

    @property
    def archives(self) -> list[tuple[Measurement, float]]:
        """Both archives with their test accuracies."""
        return [(self.compact, self.compact_accuracy), (self.paper, self.paper_accuracy)]

    @property
    def sweep_accuracies(self) -> dict[int, float]:
        """Test accuracy in percent by latent, paper-size decoder."""
        predictions = self.sweep_predictions
        return {k: percent_correct(classes, self.labels) for k, classes in predictions.items()}

    @property
    def predictions(self) -> dict[str, torch.Tensor]:
        """Predictions of the original and of both decoded networks."""
        return {
            "original": self.original,
            "paper": self.paper_predictions,
            "compact": self.compact_predictions,
        }

    @property
    def disagreements(self) -> int:
        """Test digits on which the three networks do not agree."""
        return disagreements(self.predictions)

    def digits(self, test: Digits) -> list[DigitCard]:
        """Digits for Figures 4 and 5."""
        return cards(test, self.predictions, SHOWN_DIGITS)


@dataclass(frozen=True)
class PaperReport:
    """All that the page shows."""

    models: Sequence[ModelReport]
    test: Digits
    settings: Mapping[str, object]


def render_paper(report: PaperReport) -> str:
    """The HTML page of the networks that are finished."""
    models = report.models
    return render(
        "paper.html.j2",
        models=models,
        test=report.test,
        settings=report.settings,
        machine=machine.describe(),
        citation=published.CITATION,
        published_ratio=published.RATIO,
        amortized_models=AMORTIZED_MODELS,
        bytes_figures={
            model.name: figures.bytes_by_part(
                model.paper.info.raw_bytes,
                {m.codec: m.info.bytes for m, _ in model.archives},
            )
            for model in models
        },
        curves_figure=figures.vae_curves({m.name.upper(): m.paper.history for m in models}),
        time_figure=figures.size_against_time(
            {
                m.name.upper(): (m.paper.info.parameters, m.paper.history[-1]["seconds"])
                for m in models
            }
        ),
    )
