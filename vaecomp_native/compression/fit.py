"""From tensors and a target to quantized tensors: calibration, allocation and search, in this order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from vaecomp_native.errors import UnreachableError
from vaecomp_native.io.scratch import Scratch
from vaecomp_native.progress import Progress
from vaecomp_native.quantization.batches import batches
from vaecomp_native.quantization.bunch import SMALL

if TYPE_CHECKING:
    from vaecomp_native.calibration.model import CalibratedModel
    from vaecomp_native.compression.trial_model import TrialModel

Array = npt.NDArray[Any]

STARTING_RATE_WEIGHT = 0.02
"""Where the search for a score starts, about 3 bits a weight."""


@dataclass(frozen=True)
class Fit:
    """An encoding and the rate weight it was made with, relative to what a weight costs if it is lost."""

    encoding: Encoding
    rate_weight: float


class Fitter:
    """Finds encodings of tensors for a target. Use `fitting` to get one."""

    def __init__(self, encoder: Encoder, model: CalibratedModel | None, progress: Progress) -> None:
        self._encoder = encoder
        self._model = model
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

    def keeping_score(self, min_score: float, *, start: float = STARTING_RATE_WEIGHT) -> Fit:
        """The encoding of the largest rate weight found, from `start`, whose decoded weights still score `min_score`.

        Raises UnreachableError if none does.
        """
        start *= self.unit
        if self._equalizes:
            coarse, _ = self._largest_keeping(min_score, start, correct=False)
            if coarse is not None:
                start = coarse
                self._equalize(start)
        found, best = self._largest_keeping(min_score, start, correct=self._corrects)
        if found is None:
            raise UnreachableError(
                f"no quantization keeps a score of {min_score:.6g}; the best reached is {best:.6g} at about "
                f"{FINEST_BITS:.0f} bits a weight: allow a larger max_loss, or use codec='lossless'"
            )
        return self._encode(found)

    def score_now(self) -> float:
        """The caller's score of the module as it is."""
        assert self._model is not None
        return self._model.score()

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
        self, min_score: float, start: float, *, correct: bool
    ) -> tuple[float | None, float]:
        return largest_keeping(
            self._encoder,
            self.score_now,
            min_score,
            start,
            correct=correct,
            progress=self._progress,
        )


@contextmanager
def fitting(
    arrays: Mapping[str, Array],
    quantizer: str,
    model: CalibratedModel | None,
    threads: int,
    progress: Progress,
    predicted: Mapping[str, Array] | None = None,
) -> Iterator[Fitter]:
    """A fitter for tensors, or for what is left of them beside `predicted`; afterwards the model's module is as it was.

    Without batches errors count relative to each tensor's own size.
    """
    known = predicted or {}
    if model is None:
        encoder = Encoder(
            _data_free(arrays, quantizer), arrays, quantizer, threads, predicted=known
        )
        yield Fitter(encoder, None, progress)
        return
    scratch = Scratch()
    originals = {name: scratch.copy(array) for name, array in arrays.items()}
    with trial_model(originals, model).restored() as trial:
        encoder = _calibrated_encoder(
            originals, quantizer, model, trial, threads, scratch, progress
        )
        yield Fitter(replace(encoder, predicted=known), model, progress)


def trial_model(arrays: Mapping[str, Array], model: CalibratedModel) -> TrialModel:
    """The module as a place to try tensors in; `arrays` are its own, kept apart from it."""
    from vaecomp_native.compression.trial_model import TrialModel

    return TrialModel(
        model.module,
        arrays,
        model.fitted,
        model.held_out,
        model.measure,
        first=model.first_held_out,
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


def _calibrated_encoder(
    arrays: Mapping[str, Array],
    quantizer: str,
    model: CalibratedModel,
    trial: TrialModel,
    threads: int,
    scratch: Scratch,
    progress: Progress,
) -> Encoder:
    from vaecomp_native.compression.calibrated import calibrated_operators, usable_maps

    if not model.batches:
        return Encoder(_data_free(arrays, quantizer), arrays, quantizer, threads, trial)
    assert model.measure is not None
    maps = usable_maps(model.module, model.fitted[0], arrays)
    operators = calibrated_operators(
        model.module, model.fitted, maps, arrays, model.measure, scratch, progress
    )
    if quantizer == "feedback":
        trial.remember_inputs(maps, scratch)
    by_name = {linear_map.name: linear_map for linear_map in maps}
    return Encoder(operators, arrays, quantizer, threads, trial, by_name, scratch=scratch)
