"""From tensors and a target to quantized tensors: calibration, allocation and search, in this order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from vaecomp_native.compression.bunched import BunchedOperator
from vaecomp_native.compression.encoder import AnyOperator, Encoder, Encoding
from vaecomp_native.compression.operators import by_themselves, data_free_operator
from vaecomp_native.compression.search import (
    FINEST_BITS,
    best_encoding,
    equalize,
    largest_keeping,
    rate_weight_for_bits,
    typical_cost,
)
from vaecomp_native.errors import CalibrationError, UnreachableError, in_one_line
from vaecomp_native.io.scratch import Scratch
from vaecomp_native.progress import Progress
from vaecomp_native.quantization.batches import batches
from vaecomp_native.quantization.bunch import SMALL

if TYPE_CHECKING:
    import torch

    from vaecomp_native.calibration import Measure
    from vaecomp_native.compression.trial_model import Workbench

Array = npt.NDArray[Any]

HELD_OUT = 4
"""One calibration batch in so many is held out, to measure divergence on."""
STARTING_RATE_WEIGHT = 0.02
"""Where the search for a score starts, about 3 bits a weight."""


@dataclass(frozen=True)
class Calibration:
    """A module, sample inputs of it (maybe none), and maybe a score of it, larger being better.

    `divergence` is a name where nothing is measured, else the measure.
    """

    module: torch.nn.Module
    batches: Sequence[Any]
    evaluate: Callable[[torch.nn.Module], float] | None
    divergence: str | Measure

    @property
    def kind(self) -> str | None:
        """Which divergence is measured, if one is: "kl" or "mse"."""
        return None if isinstance(self.divergence, str) else self.divergence.kind


@dataclass(frozen=True)
class Fit:
    """An encoding and the rate weight it was made with, relative to what a weight costs if it is lost."""

    encoding: Encoding
    rate_weight: float


class Fitter:
    """Finds encodings of tensors for a target. Use `fitting` to get one."""

    def __init__(
        self, encoder: Encoder, calibration: Calibration | None, progress: Progress
    ) -> None:
        self._encoder = encoder
        self._calibration = calibration
        self._progress = progress
        self.unit = typical_cost(encoder)
        """What a relative rate weight of 1 is in the operators' own costs."""
        self._equalized = False

    @property
    def encoder(self) -> Encoder:
        """The operators with the multipliers that were found last."""
        return self._encoder

    def at_rate_weight(self, rate_weight: float) -> Fit:
        """The encoding at a relative rate weight."""
        self._equalize(rate_weight * self.unit)
        return self._encode(rate_weight * self.unit)

    def at_bits(self, bits: float) -> Fit:
        """The encoding whose ideal bits are about `bits` in all."""
        rate_weight = rate_weight_for_bits(self._encoder, bits)
        if self._equalize(rate_weight):
            rate_weight = rate_weight_for_bits(self._encoder, bits)
        return self._encode(rate_weight)

    def keeping_score(self, least: float, *, start: float = STARTING_RATE_WEIGHT) -> Fit:
        """The encoding of the largest rate weight found, from `start`, whose decoded weights still score `least`.

        Raises UnreachableError if none does.
        """
        start *= self.unit
        if self._equalizes:
            coarse, _ = self._largest_keeping(least, start, correct=False)
            if coarse is not None:
                start = coarse
                self._equalize(start)
        found, best = self._largest_keeping(least, start, correct=self._corrects)
        if found is None:
            raise UnreachableError(
                f"no quantization keeps a score of {least:.6g}; the best reached is {best:.6g} at about "
                f"{FINEST_BITS:.0f} bits a weight: allow a larger max_loss, or use codec='lossless'"
            )
        return self._encode(found)

    def score_now(self) -> float:
        """The caller's score of the module as it is."""
        assert self._calibration is not None
        return call_evaluate(self._calibration)

    @property
    def _corrects(self) -> bool:
        return bool(self._encoder.maps) and self._encoder.quantizer == "feedback"

    @property
    def _equalizes(self) -> bool:
        return self._corrects and not self._equalized and len(self._encoder.operators) > 1

    def _equalize(self, rate_weight: float) -> bool:
        """Adjust the operators' multipliers, once; says whether it did."""
        if not self._equalizes:
            return False
        self._encoder = equalize(self._encoder, rate_weight, self._progress)
        self._equalized = True
        return True

    def _encode(self, rate_weight: float) -> Fit:
        if self._corrects:
            encoding = best_encoding(self._encoder, rate_weight, self._progress)
        else:
            encoding = self._encoder.encode(rate_weight, progress=self._progress)
        return Fit(encoding, rate_weight / self.unit)

    def _largest_keeping(
        self, least: float, start: float, *, correct: bool
    ) -> tuple[float | None, float]:
        return largest_keeping(
            self._encoder,
            self.score_now,
            least,
            start,
            correct=correct,
            progress=self._progress,
        )


@contextmanager
def fitting(
    arrays: Mapping[str, Array],
    quantizer: str,
    calibration: Calibration | None,
    threads: int,
    progress: Progress,
    predicted: Mapping[str, Array] | None = None,
) -> Iterator[Fitter]:
    """A fitter for tensors, or for what is left of them beside `predicted`; afterwards the calibration's module is as it was.

    Without batches errors count relative to each tensor's own size.
    """
    known = predicted or {}
    if calibration is None:
        encoder = Encoder(
            _data_free(arrays, quantizer), arrays, quantizer, threads, predicted=known
        )
        yield Fitter(encoder, None, progress)
        return
    scratch = Scratch()
    originals = {name: scratch.copy(array) for name, array in arrays.items()}
    with workbench(originals, calibration).restored() as bench:
        encoder = _calibrated_encoder(
            originals, quantizer, calibration, bench, threads, scratch, progress
        )
        yield Fitter(replace(encoder, predicted=known), calibration, progress)


def workbench(arrays: Mapping[str, Array], calibration: Calibration) -> Workbench:
    """The calibration's module as a place to try tensors in; `arrays` are its own, kept apart from it."""
    from vaecomp_native.compression.trial_model import Workbench

    fitted, held_out = _split(calibration.batches)
    first = len(calibration.batches) - len(held_out)
    return Workbench(
        calibration.module, arrays, fitted, held_out, calibration.divergence, first=first
    )


def _data_free(arrays: Mapping[str, Array], quantizer: str) -> list[AnyOperator]:
    """Operators without calibration: of large tensors by themselves, of small ones together."""
    names = by_themselves(arrays)
    # The published quantizers, for comparison, know one matrix at a time.
    most = SMALL if quantizer == "feedback" else 0
    small = {name: arrays[name].size for name in names if arrays[name].size <= most}
    apart = [data_free_operator(name, arrays[name]) for name in names if name not in small]
    together = [BunchedOperator.of({n: arrays[n] for n in run}) for run in batches(small)]
    return [*apart, *together]


def _split(batches: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """Batches to fit to and batches to measure on; a single one has to do for both."""
    held_out = len(batches) // HELD_OUT or min(len(batches), 1)
    return batches[: len(batches) - held_out] or batches, batches[len(batches) - held_out :]


def _calibrated_encoder(
    arrays: Mapping[str, Array],
    quantizer: str,
    calibration: Calibration,
    bench: Workbench,
    threads: int,
    scratch: Scratch,
    progress: Progress,
) -> Encoder:
    from vaecomp_native.compression.calibrated import calibrated_operators, usable_maps

    if not calibration.batches:
        return Encoder(_data_free(arrays, quantizer), arrays, quantizer, threads, bench)
    fitted, _ = _split(calibration.batches)
    maps = usable_maps(calibration.module, fitted[0], arrays)
    operators = calibrated_operators(
        calibration.module, fitted, maps, arrays, calibration.divergence, scratch, progress
    )
    if quantizer == "feedback":
        bench.remember_inputs(maps, scratch)
    by_name = {linear_map.name: linear_map for linear_map in maps}
    return Encoder(operators, arrays, quantizer, threads, bench, by_name, scratch=scratch)


def call_evaluate(calibration: Calibration) -> float:
    """The score as a finite number. Raises CalibrationError if there is none."""
    assert calibration.evaluate is not None
    try:
        score = float(calibration.evaluate(calibration.module))
    except Exception as error:
        raise CalibrationError(f"evaluate raised {in_one_line(error)}") from error
    if not math.isfinite(score):
        raise CalibrationError(f"evaluate returned {score}; it must return a finite number")
    return score
