"""Small tensors that are quantized together, without calibration.

Each has the steps that it would have by itself. Their symbols are priced and counted together, as
the archive codes them: under a few frequency tables, from quiet to lively.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.compression.operators import NO_COST, VECTOR_PRECISION
from vaecomp_native.io.scratch import Scratch
from vaecomp_native.quantization.bunch import Bunch, joined
from vaecomp_native.quantization.entropy import entropy_bits, table_bits
from vaecomp_native.quantization.feedback import (
    DECISION,
    MARGIN,
    MIN_ROW_WEIGHT,
    guessed_bits,
    half_octaves,
    smoothed_bits,
    steps_for,
)
from vaecomp_native.quantization.matrix import (
    LARGEST_SYMBOL,
    Float32Array,
    QuantizedMatrix,
    matrix_shape,
    scales,
)

Array = npt.NDArray[Any]
Float64Array = npt.NDArray[np.float64]
Symbols = npt.NDArray[np.signedinteger[Any]]
MIN_ENERGY = 1e-30
LIVELINESS = 2.0
"""The factor between the mean magnitudes of the symbols of neighbouring tables."""
QUIETEST = 2.0**-6
"""The mean magnitude of the symbols of the quietest table."""


class QuantizedBunch(Mapping[str, QuantizedMatrix]):
    """Quantized tensors by name, each cut out when asked for.

    `bits` is about the size of all of them in the archive.
    """

    def __init__(
        self,
        names: Sequence[str],
        bunch: Bunch,
        symbols: Symbols,
        steps: Float32Array,
        row_exponents: npt.NDArray[np.int8],
        bits: float,
    ) -> None:
        """Take symbols of all elements, a step for each tensor and an exponent for each row."""
        self._numbers = {name: number for number, name in enumerate(names)}
        self._bunch = bunch
        self._symbols = symbols
        self._steps = steps
        self._row_exponents = row_exponents
        self.bits = bits

    def kept_in(self, scratch: Scratch) -> QuantizedBunch:
        """Move the symbols to `scratch`. Returns itself."""
        self._symbols = scratch.copy(self._symbols)
        return self

    @cached_property
    def _matrices(self) -> list[QuantizedMatrix]:
        bunch = self._bunch
        firsts = bunch.first_rows.tolist()
        lasts = (bunch.first_rows + bunch.rows).tolist()
        scaled = np.logical_or.reduceat(self._row_exponents != 0, bunch.first_rows).tolist()
        return [
            QuantizedMatrix(
                symbols, step, None, self._row_exponents[first:last] if has_scales else None
            )
            for symbols, step, first, last, has_scales in zip(
                bunch.split(self._symbols), self._steps.tolist(), firsts, lasts, scaled, strict=True
            )
        ]

    def __getitem__(self, name: str) -> QuantizedMatrix:
        return self._matrices[self._numbers[name]]

    def __contains__(self, name: object) -> bool:
        return name in self._numbers

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


@dataclass(frozen=True)
class BunchedOperator:
    """Small tensors without calibration, each an operator of its own.

    Errors cost the same as in a `data_free_operator`.
    """

    tensors: tuple[str, ...]
    bunch: Bunch
    row_weights: Float64Array
    multiplier: float = 1.0
    calibrated: bool = False

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> BunchedOperator:
        """Make one of float arrays, none of them empty."""
        bunch = Bunch([matrix_shape(array.shape) for array in arrays.values()])
        values = joined(list(arrays.values()), np.float32)
        squares = np.square(values, dtype=np.float64)
        energy = np.add.reduceat(squares, bunch.row_starts) / bunch.row_lengths
        mean = np.add.reduceat(energy, bunch.first_rows) / bunch.rows
        floor = np.maximum(mean * 1e-3, MIN_ENERGY)
        is_vector = np.array([array.ndim < 2 for array in arrays.values()])
        precision = np.where(is_vector, VECTOR_PRECISION, 1.0)
        of_row = bunch.matrix_of_row
        weights = precision[of_row] / np.maximum(energy, floor[of_row])
        return cls(tuple(arrays), bunch, weights)

    @property
    def name(self) -> str:
        """The names of its first and its last tensor."""
        return f"{self.tensors[0]} ... {self.tensors[-1]}"

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Elements of each tensor."""
        return self.bunch.sizes

    @property
    def elements(self) -> int:
        """Elements of all tensors."""
        return int(self.sizes.sum())

    def within(self, names: Container[str]) -> BunchedOperator | None:
        """The same with only the tensors that are among `names`; None if none is."""
        return self._only(np.array([name in names for name in self.tensors]))

    def matrix(self, arrays: Mapping[str, Array]) -> Float32Array:
        """All elements of its tensors, one behind another: float32 [N]."""
        return joined([arrays[name] for name in self.tensors], np.float32)

    def costs(self, arrays: Mapping[str, Array]) -> Float64Array:
        """The mean cost of a weight if all weights of a tensor are lost; at least `NO_COST`."""
        squares = np.square(self.matrix(arrays), dtype=np.float64)
        lost = self.row_weights * np.add.reduceat(squares, self.bunch.row_starts)
        costs = np.add.reduceat(lost, self.bunch.first_rows) / self.sizes
        return np.asarray(np.maximum(self.multiplier * costs, NO_COST))

    def quantize(
        self, values: Float32Array, rate_weight: float, quantizer: str, threads: int
    ) -> QuantizedBunch:
        """Quantize all elements [N]. Leaves out tensors with a value that no step can hold."""
        weight = rate_weight / self.multiplier
        bunch, of_row = self.bunch, self.bunch.matrix_of_row
        mean = np.exp(_means(np.log(self.row_weights), bunch))
        rows = np.maximum(self.row_weights, MIN_ROW_WEIGHT * mean[of_row])
        exponents = half_octaves(rows / mean[of_row])
        steps = steps_for(weight, mean)
        row_scales = scales(steps[of_row], exponents.astype(np.int32))
        with np.errstate(over="ignore"):
            reach = np.maximum.reduceat(np.abs(values) / row_scales[bunch.row], bunch.starts)
        within = reach <= LARGEST_SYMBOL
        if not within.all():
            fewer = self._only(within)
            if fewer is None:
                return QuantizedBunch((), bunch, np.empty(0, np.int8), steps, exponents, 0.0)
            kept = values[np.repeat(within, bunch.sizes)]
            return fewer.quantize(kept, rate_weight, quantizer, threads)
        limit = min(LARGEST_SYMBOL, math.ceil(float(reach.max())) + MARGIN)
        prices = _Prices(bunch, limit)
        symbols = np.zeros(0, np.int16)
        for bits in prices:
            found, _ = _core.feedback_quantize(
                values[:, None],
                None,
                None,
                np.ones(1, np.float32),
                rows.astype(np.float32)[bunch.row],
                row_scales[bunch.row],
                np.ones(1, np.float32),
                DECISION * weight,
                bits,
                -limit,
                prices.tables.astype(np.uint8)[np.repeat(np.arange(len(steps)), bunch.sizes)],
                threads,
            )
            symbols = found.ravel()
            prices.count(symbols)
        total = prices.total_bits() + _stream_bits(exponents[exponents != 0])
        narrow = np.int8 if np.abs(symbols).max() <= np.iinfo(np.int8).max else np.int16
        return QuantizedBunch(self.tensors, bunch, symbols.astype(narrow), steps, exponents, total)

    def _only(self, chosen: npt.NDArray[np.bool_]) -> BunchedOperator | None:
        names = tuple(name for name, one in zip(self.tensors, chosen, strict=True) if one)
        if len(names) == len(self.tensors):
            return self
        if not names:
            return None
        shapes = np.column_stack([self.bunch.rows, self.bunch.columns])[chosen].tolist()
        row_weights = self.row_weights[chosen[self.bunch.matrix_of_row]]
        return replace(self, tensors=names, bunch=Bunch(shapes), row_weights=row_weights)


class _Prices:
    """Bits of symbols: first guessed, then counted over tensors that are about equally lively."""

    def __init__(self, bunch: Bunch, limit: int) -> None:
        self._bunch = bunch
        self._limit = limit
        self.tables = np.zeros(len(bunch.sizes), np.int64)
        self._counts = np.zeros((1, 2 * limit + 1))
        self._counted = False

    def __iter__(self) -> Iterator[Float32Array]:
        """Bits [tables, symbols] for each sweep; call `count` in between."""
        yield guessed_bits(self._limit)[None]
        yield np.stack([smoothed_bits(counts) for counts in self._counts])

    def count(self, symbols: npt.NDArray[np.int16]) -> None:
        """Count symbols [N]. The first call also gives each tensor its table."""
        if not self._counted:
            total = np.add.reduceat(np.abs(symbols), self._bunch.starts)
            mean = np.maximum(total / self._bunch.sizes, QUIETEST)
            octaves = np.rint(np.log(mean / QUIETEST) / math.log(LIVELINESS)).astype(np.int64)
            self.tables = np.unique(octaves, return_inverse=True)[1].reshape(-1)
            self._counted = True
        width = 2 * self._limit + 1
        table = np.repeat(self.tables, self._bunch.sizes)
        tables = int(self.tables.max()) + 1
        counts = np.bincount(table * width + symbols + self._limit, minlength=tables * width)
        self._counts = counts.reshape(tables, width).astype(np.float64)

    def total_bits(self) -> float:
        """Bits of the symbols counted last, and of their tables."""
        return sum(entropy_bits(counts) + table_bits(counts) for counts in self._counts)


def _means(values: Float64Array, bunch: Bunch) -> Float64Array:
    """The mean of `values`, one for each row, over the rows of each matrix."""
    return np.asarray(np.add.reduceat(values, bunch.first_rows) / bunch.rows)


def _stream_bits(symbols: npt.NDArray[np.int8]) -> float:
    counts = np.bincount(symbols.astype(np.int64) + 128)
    return entropy_bits(counts) + table_bits(counts)
