"""The inputs of calibration. This module needs no PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from vaecomp_native.arguments import check_choice

Divergence = Literal["auto", "kl", "mse"]
Inputs = Callable[[Any], Any]
"""A function that picks a module's inputs from a batch."""


@dataclass(frozen=True)
class Calibration:
    """Sample inputs of a module, and the meaning of differences of its outputs.

    Args:
        batches: batches of the module's inputs, without labels. Each is a tensor, a tuple or list
            of positional arguments or a dict of keyword arguments, or anything from which `inputs`
            makes such a batch. A few thousand samples are enough.
        inputs: picks the module's inputs from each batch. `lambda batch: batch[0]` does it for
            pairs of samples and labels.
        divergence: what differences of the outputs mean: "kl" for logits, "mse" for other numbers,
            "auto" to find out from the first batch. Where that is not clear a CalibrationError
            asks.
    """

    batches: Iterable[Any]
    inputs: Inputs | None = None
    divergence: Divergence = "auto"

    def __post_init__(self) -> None:
        check_choice("divergence", self.divergence, get_args(Divergence))

    @staticmethod
    def of(given: Calibration | Iterable[Any] | None) -> Calibration | None:
        """Make a Calibration of batches, and leave a Calibration or None as it is."""
        return given if given is None or isinstance(given, Calibration) else Calibration(given)
