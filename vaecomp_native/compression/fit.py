"""From tensors and a target to quantized tensors: calibration, allocation, then search."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from vaecomp_native.compression.bunched import BunchedOperator
from vaecomp_native.compression.encoder import AnyOperator, Encoder, Encoding
from vaecomp_native.compression.operators import by_themselves, data_free_operator
from vaecomp_native.compression.prediction import SizePredictor
from vaecomp_native.compression.search import (
    FINEST_BITS,
    SMALL_MODEL,
    best_encoding,
    equalize,
    largest_keeping,
    put_into_model,
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

SIZE_TOLERANCE, LARGE_SIZE_TOLERANCE = 0.01, 0.02
"""The share by which a file may be smaller than asked. Trying again takes long for large models."""
HARMLESS = 1e-4
"""The divergence up to which no encoding is compared with one without calibration."""
FAR_LESS = 2.0
"""The factor between divergences from which an encoding without calibration is preferred."""
CHECK_SHARE = 0.25
"""The share of the held-out batches that this is decided on."""
STARTING_RATE_WEIGHT = 0.02
"""The rate weight at which the search for a score starts: about 3 bits a weight."""


@dataclass(frozen=True)
class Fit:
    """An encoding and the rate weight that made it, relative to the cost of losing a weight.

    `bits` is the size that the search for the rate weight counted on, None without such a search.
    """

    encoding: Encoding
    rate_weight: float
    bits: float | None = None


class Fitter:
    """Finds encodings of tensors for a target. Use `fitting` to get one."""

    def __init__(self, encoder: Encoder, model: CalibratedModel | None, progress: Progress) -> None:
        self._encoder = encoder
        self._model = model
        self._progress = progress
        self.unit = typical_cost(encoder)
        """The relative rate weight 1 in the operators' own costs."""
        self._equalized = False
        self._predictor: SizePredictor | None = None

    @property
    def encoder(self) -> Encoder:
        """The operators with the multipliers that were found last."""
        return self._encoder

    @property
    def size_tolerance(self) -> float:
        """The share by which a file may be smaller than asked for."""
        is_large = self._corrects and self._encoder.parameters > SMALL_MODEL
        return LARGE_SIZE_TOLERANCE if is_large else SIZE_TOLERANCE

    def at_rate_weight(self, rate_weight: float) -> Fit:
        """Encode at a relative rate weight."""
        self._equalize(rate_weight * self.unit)
        return self._unless_worse(self._encode(rate_weight * self.unit))

    def at_bits(self, bits: float) -> Fit:
        """Find the encoding whose tensors take about `bits` in all."""
        rate_weight, found = rate_weight_for_bits(self._encoder, bits, self._bits_at)
        if self._equalize(rate_weight):
            rate_weight, found = rate_weight_for_bits(self._encoder, bits, self._bits_at)
        expected = None
        if self._corrects and self._predictor is not None:
            expected = self._predictor.of_operators(rate_weight)
        return replace(self._unless_worse(self._encode(rate_weight, expected)), bits=found)

    def keeping_score(self, min_score: float, *, start: float = STARTING_RATE_WEIGHT) -> Fit:
        """Find the largest rate weight whose decoded weights still score `min_score`.

        The search begins at the relative rate weight `start`. Raises UnreachableError if no rate
        weight keeps the score.
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
                f"no quantization keeps a score of {min_score:.6g}; the best reached is {best:.6g} "
                f"at about {FINEST_BITS:.0f} bits a weight: allow a larger max_loss, or use "
                "codec='lossless'"
            )
        return self._encode(found)

    def score_now(self) -> float:
        """Score the module as it is, with the caller's function."""
        assert self._model is not None
        return self._model.score()

    def _bits_at(self, rate_weight: float) -> float:
        """About the bits of all tensors at a rate weight."""
        encoder = self._encoder
        is_small = bool(encoder.maps) and encoder.parameters <= SMALL_MODEL
        if is_small or encoder.quantizer != "feedback":
            return self._encoder.encode(rate_weight).ideal_bits
        if self._predictor is None:
            self._predictor = SizePredictor.of(self._encoder)
        return self._predictor.bits(rate_weight)

    @property
    def _corrects(self) -> bool:
        return bool(self._encoder.maps) and self._encoder.quantizer == "feedback"

    @property
    def _equalizes(self) -> bool:
        return self._corrects and not self._equalized and len(self._encoder.operators) > 1

    def _equalize(self, rate_weight: float) -> bool:
        """Adjust the operators' multipliers, only once. Says whether it did."""
        if not self._equalizes:
            return False
        self._encoder = equalize(self._encoder, rate_weight, self._progress)
        self._predictor = None
        self._equalized = True
        return True

    def _encode(self, rate_weight: float, expected: Mapping[str, float] | None = None) -> Fit:
        if self._corrects:
            encoding = best_encoding(self._encoder, rate_weight, self._progress, expected)
        else:
            encoding = self._encoder.encode(rate_weight, progress=self._progress)
        return Fit(encoding, rate_weight / self.unit)

    def _unless_worse(self, fit: Fit) -> Fit:
        """Keep a calibrated fit, unless one of its size without calibration does far less harm.

        The divergence on held-out batches says which. Something about the model is then beyond what
        calibration knows of it, and a warning says so.
        """
        if not self._corrects:
            return fit
        encoder, model = self._encoder, self._encoder.model
        assert model is not None
        divergence = model.divergence(CHECK_SHARE)
        if divergence <= HARMLESS:
            return fit
        free = replace(encoder, operators=_data_free(encoder.arrays, encoder.quantizer), maps=None)
        bits = fit.encoding.ideal_bits
        rate_weight, _ = rate_weight_for_bits(free, bits, SizePredictor.of(free).bits)
        encoding = free.encode(rate_weight)
        without = model.divergence(CHECK_SHARE)
        # Where nearly everything is kept exact, sizes say little.
        is_alike = encoding.unquantizable <= fit.encoding.unquantizable
        if FAR_LESS * without < divergence and is_alike:
            warnings.warn(
                f"calibration is left out: with it the outputs diverge by {divergence:.3g} on "
                f"batches held out, without it by {without:.3g} at about the same size",
                stacklevel=2,
            )
            return Fit(encoding, rate_weight / typical_cost(free))
        put_into_model(encoder, fit.encoding)
        return fit

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
    """Make a fitter for tensors. Afterwards the model's module is as it was.

    With `predicted` values it quantizes their differences from the tensors. Without batches errors
    count relative to each tensor's own size.
    """
    known = predicted or {}
    if model is None:
        encoder = data_free_encoder(arrays, quantizer, threads)
        yield Fitter(replace(encoder, predicted=known), None, progress)
        return
    scratch = Scratch()
    originals = {name: scratch.copy(array) for name, array in arrays.items()}
    with trial_model(originals, model).restored() as trial:
        encoder = _calibrated_encoder(
            originals, quantizer, model, trial, threads, scratch, progress
        )
        yield Fitter(replace(encoder, predicted=known), model, progress)


def data_free_encoder(arrays: Mapping[str, Array], quantizer: str, threads: int) -> Encoder:
    """Make an encoder of tensors whose errors count relative to each tensor's own size."""
    return Encoder(_data_free(arrays, quantizer), arrays, quantizer, threads)


def trial_model(arrays: Mapping[str, Array], model: CalibratedModel) -> TrialModel:
    """Make the module a place to try tensors in. `arrays` are copies of its own tensors."""
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
    """Operators without calibration: one for each large tensor, and few for the small ones."""
    names = by_themselves(arrays)
    # The published quantizers, for comparison, know one matrix at a time.
    max_size = SMALL if quantizer == "feedback" else 0
    small = {name: arrays[name].size for name in names if arrays[name].size <= max_size}
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
    by_name = {linear_map.name: linear_map for linear_map in maps}
    return Encoder(operators, arrays, quantizer, threads, trial, by_name, scratch=scratch)
