"""What calibration is given. This module needs no PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from vaecomp_native.arguments import check_choice

Divergence = Literal["auto", "kl", "mse"]
Inputs = Callable[[Any], Any]
"""Picks a module's inputs from a batch."""


@dataclass(frozen=True)
class Calibration:
    """Sample inputs of a module, and what differences of its outputs mean.

    Args:
        batches: batches of the module's inputs, without labels: each a tensor, a tuple or list of
            positional arguments or a dict of keyword arguments, or anything that `inputs` makes
            such a batch of. A few thousand samples do.
        inputs: picks the module's inputs from each batch, as `lambda batch: batch[0]` from samples
            with labels.
        divergence: what differences of the outputs mean: "kl" for logits, "mse" for other numbers,
            "auto" to find out from the first batch; where that is not clear a CalibrationError
            asks.
    """

    batches: Iterable[Any]
    inputs: Inputs | None = None
    divergence: Divergence = "auto"

    def __post_init__(self) -> None:
        check_choice("divergence", self.divergence, get_args(Divergence))

    @staticmethod
    def of(given: Calibration | Iterable[Any] | None) -> Calibration | None:
        """What was given, where batches alone stand for themselves."""
        return given if given is None or isinstance(given, Calibration) else Calibration(given)
