"""A module with sample inputs and a score: what sensitivities and losses are measured on."""

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
"""One batch in so many is held out, to measure divergence on."""


@dataclass(frozen=True)
class CalibratedModel:
    """A module, batches of its inputs, and maybe a score of it, larger being better.

    `measure` says what differences of the outputs mean; without it there are no batches, or nothing
    is measured.
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
        """The module with the batches picked for it, all read.

        With `measured` the divergence that is asked for becomes a measure. Raises what `picked` and
        `measure_for` do.
        """
        if calibration is None:
            return CalibratedModel(module, [], evaluate)
        batches = list(picked(calibration.batches, calibration.inputs, module))
        measure = measure_for(module, batches[0], calibration.divergence) if measured else None
        return CalibratedModel(module, batches, evaluate, measure)

    @property
    def divergence(self) -> str | None:
        """Which divergence is measured, if one is: "kl" or "mse"."""
        return None if self.measure is None else self.measure.kind

    @property
    def fitted(self) -> Sequence[Any]:
        """Batches to fit to; a single one has to do for this and to measure on."""
        return self.batches[: self.first_held_out] or self.batches

    @property
    def held_out(self) -> Sequence[Any]:
        """Batches to measure divergence on."""
        return self.batches[self.first_held_out :]

    @property
    def first_held_out(self) -> int:
        """The number of the first batch that is held out."""
        held_out = len(self.batches) // HELD_OUT or min(len(self.batches), 1)
        return len(self.batches) - held_out

    def score(self) -> float:
        """The module's score as a finite number. Raises CalibrationError if there is none."""
        assert self.evaluate is not None
        try:
            score = float(self.evaluate(self.module))
        except Exception as error:
            raise CalibrationError(f"evaluate raised {in_one_line(error)}") from error
        if not math.isfinite(score):
            raise CalibrationError(f"evaluate returned {score}; it must return a finite number")
        return score
