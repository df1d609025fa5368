"""The paper's evaluation: networks, their archives in every form, and what is left of accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch

from vaecomp_native.demo.accuracy import percent_correct
from vaecomp_native.demo.digits import Digits
from vaecomp_native.demo.measure import LATENT, Measurement
from vaecomp_native.demo.training import TrainedClassifier


@dataclass(frozen=True)
class ArchiveResult:
    """An archive of one network: bytes by part, ratio, accuracy in percent, times in seconds.

    ``break_even_models`` is None where no number of models pays for the decoder.
    """

    bytes: dict[str, int]
    ratio_self_contained: float
    accuracy_decoded: float
    break_even_models: int | None
    bit_exact: bool
    compress_seconds: float
    decode_seconds: float
    reference_decode_seconds: float


@dataclass(frozen=True)
class ModelResult:
    """One network. ``accuracy_decoded`` is that of the archive with the paper-size decoder.

    ``train_seconds`` and ``curve`` are those of its VAE; ``latent_sweep`` holds the archives with
    the paper-size decoder by latent, where more than one latent was tried.
    """

    parameters: int
    accuracy_original: float
    accuracy_decoded: float
    ratio_latents_only: float | None
    paper: ArchiveResult
    compact: ArchiveResult
    train_seconds: float
    curve: list[dict[str, float]]
    latent_sweep: dict[int, ArchiveResult]

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-able objects; ``latent_sweep`` is left out where it is empty."""
        result = asdict(self)
        sweep = {str(latent): archive for latent, archive in result.pop("latent_sweep").items()}
        return {**result, "latent_sweep": sweep} if sweep else result


@dataclass(frozen=True)
class EvaluatedNetwork:
    """One network's archives, and predictions int64 [N] for all test digits.

    ``sweep`` maps a latent to the archive with the paper-size decoder.
    """

    name: str
    trained: TrainedClassifier
    sweep: Mapping[int, Measurement]
    compact: Measurement
    labels: torch.Tensor
    original: torch.Tensor
    sweep_predictions: Mapping[int, torch.Tensor]
    compact_predictions: torch.Tensor

    @property
    def accuracy(self) -> float:
        """Test accuracy of the original in percent."""
        return percent_correct(self.original, self.labels)

    @property
    def paper(self) -> Measurement:
        """The archive with the paper-size decoder at the paper's latent."""
        return self.sweep[LATENT]

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

    def result(self) -> ModelResult:
        """What the JSON says of it."""
        sweep = {
            latent: _archive(measurement, self.sweep_accuracies[latent])
            for latent, measurement in self.sweep.items()
        }
        history = self.paper.history
        return ModelResult(
            parameters=self.paper.info.parameters,
            accuracy_original=self.accuracy,
            accuracy_decoded=self.paper_accuracy,
            ratio_latents_only=self.paper.info.ratio_latents_only,
            paper=sweep[LATENT],
            compact=_archive(self.compact, self.compact_accuracy),
            train_seconds=history[-1]["seconds"],
            curve=history,
            latent_sweep=sweep if len(sweep) > 1 else {},
        )


def _archive(measurement: Measurement, accuracy: float) -> ArchiveResult:
    return ArchiveResult(
        bytes=dict(measurement.info.bytes),
        ratio_self_contained=measurement.info.ratio_self_contained,
        accuracy_decoded=accuracy,
        break_even_models=measurement.break_even,
        bit_exact=measurement.bit_exact,
        compress_seconds=measurement.compress_seconds,
        decode_seconds=measurement.decode_seconds,
        reference_decode_seconds=measurement.reference_decode_seconds,
    )


@dataclass(frozen=True)
class PaperResult:
    """The networks that are finished, the test digits, and how it was measured."""

    networks: Sequence[EvaluatedNetwork]
    test: Digits
    settings: Mapping[str, Any]

    @cached_property
    def models(self) -> Mapping[str, ModelResult]:
        """What the JSON says of the networks, by name."""
        return {network.name: network.result() for network in self.networks}

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-able objects."""
        return {"models": {name: model.to_dict() for name, model in self.models.items()}}
