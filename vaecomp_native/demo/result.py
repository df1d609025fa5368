"""What the demonstration found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from vaecomp_native.demo.digits import Digits
from vaecomp_native.demo.measure import Measurement
from vaecomp_native.demo.training import TrainedClassifier


@dataclass(frozen=True)
class DemoArchive:
    """One archive: bytes by part (``total`` is the file's size), ratios, accuracy, seconds."""

    codec: str
    bytes: dict[str, int]
    ratio_self_contained: float
    ratio_latents_only: float | None
    accuracy_decoded: float
    bit_exact: bool
    decode_seconds: float
    reference_decode_seconds: float


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration found; accuracies in percent on the test digits."""

    model: str
    data: str
    parameters: int
    raw_bytes: int
    accuracy_original: float
    archives: tuple[DemoArchive, ...]

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-able objects."""
        result = asdict(self)
        return {**result, "archives": list(result["archives"])}


@dataclass(frozen=True)
class Demonstration:
    """The result and all that it was made from; predictions are int64 [N] over the test digits."""

    result: DemoResult
    trained: TrainedClassifier
    measurements: Sequence[Measurement]
    test: Digits
    original: torch.Tensor
    decoded: Sequence[torch.Tensor]
    settings: Mapping[str, int | str]
