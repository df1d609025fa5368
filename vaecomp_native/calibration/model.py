"""A module with sample inputs and a score, to measure sensitivities and losses on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vaecomp_native.calibration.batches import picked
from vaecomp_native.calibration.config import Calibration
from vaecomp_native.calibration.detection import measure_for
from vaecomp_native.errors import CalibrationError, in_one_line

if TYPE_CHECKING:
    import torch

    from vaecomp_native.calibration.divergence import Measure

HELD_OUT = 4
"""The number of batches of which one is held out, to measure divergence on."""


@dataclass(frozen=True)
class CalibratedModel:
    """A module, batches of its inputs, and perhaps a function that scores it (larger is better).

    `measure` says what differences of the outputs mean. It is None if there are no batches, or if
    nothing is measured.
    """

    module: torch.nn.Module
    batches: Sequence[Any]
    evaluate: Callable[[torch.nn.Module], float] | None
    measure: Measure | None = None

    @staticmethod
    def of(
        module: torch.nn.Module,
        calibration: Calibration | None,
        evaluate: Callable[[torch.nn.Module], float] | None,
        *,
        measured: bool = True,
    ) -> CalibratedModel:
        """Read all batches, picked for the module.

        With `measured`, also find the measure of the divergence that is asked for. Raises the
        errors of `picked` and `measure_for`.
        """
        if calibration is None:
            return CalibratedModel(module, [], evaluate)
        batches = list(picked(calibration.batches, calibration.inputs, module))
        measure = measure_for(module, batches[0], calibration.divergence) if measured else None
        return CalibratedModel(module, batches, evaluate, measure)

    @property
    def divergence(self) -> str | None:
        """The divergence that is measured: "kl", "mse", or None."""
        return None if self.measure is None else self.measure.kind

    @property
    def fitted(self) -> Sequence[Any]:
        """The batches to fit to. A single batch serves for this and for measurements."""
        return self.batches[: self.first_held_out] or self.batches

    @property
    def held_out(self) -> Sequence[Any]:
        """The batches to measure divergence on."""
        return self.batches[self.first_held_out :]

    @property
    def first_held_out(self) -> int:
        """The number of the first batch that is held out."""
        held_out = len(self.batches) // HELD_OUT or min(len(self.batches), 1)
        return len(self.batches) - held_out

    def score(self) -> float:
        """Score the module. Raises CalibrationError if that gives no finite number."""
        assert self.evaluate is not None
        try:
            score = float(self.evaluate(self.module))
        except Exception as error:
            raise CalibrationError(f"evaluate raised {in_one_line(error)}") from error
        if not math.isfinite(score):
            raise CalibrationError(f"evaluate returned {score}; it must return a finite number")
        return score
