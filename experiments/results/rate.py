"""Size against accuracy: files of every codec, and the smallest for each allowed loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from experiments.measures.paired import PairedLoss


@dataclass(frozen=True)
class CurvePoint:
    """A file of one codec; accuracy and loss on the validation digits, in percent and points."""

    codec: str
    setting: Mapping[str, float]
    file: str
    bytes: int
    ratio_self_contained: float
    validation_accuracy: float
    validation_loss: float
    validation_standard_error: float
    encode_seconds: float
    decode_seconds: float

    def within(self, allowed: float) -> bool:
        """Whether the rule of the choice lets the file cost ``allowed`` points."""
        return PairedLoss(self.validation_loss, self.validation_standard_error).within(allowed)


@dataclass(frozen=True)
class ChosenFile:
    """A codec's smallest file for an allowed loss; accuracies in percent on the test digits."""

    model: str
    codec: str
    allowed_loss: float
    bytes: int
    ratio_self_contained: float
    accuracy_original: float
    accuracy_decoded: float
    encode_seconds: float
    decode_seconds: float
    setting: Mapping[str, float]
    file: str
    validation_loss: float
    validation_standard_error: float


@dataclass(frozen=True)
class ModelCurves:
    """One network, its validation accuracy in percent, and a point for every file."""

    parameters: int
    raw_bytes: int
    validation_accuracy: float
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True)
class RateResult:
    """The networks that are finished: chosen files in ``results``, curves in ``models``.

    ``allowed_losses`` are those, in points, that files were chosen for. ``settings`` and ``machine``
    say how and on what it was measured.
    """

    allowed_losses: tuple[float, ...]
    results: tuple[ChosenFile, ...]
    models: Mapping[str, ModelCurves]
    settings: Mapping[str, Any]
    machine: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-able objects."""
        return asdict(self)
