"""The size of an encoding without corrections, predicted from samples of the large tensors.

A search for a rate weight asks for many sizes. Each costs as much as a sample here, and not as much
as the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.codecs.quantized import encode_fitted, tables_to_try
from vaecomp_native.compression.bunched import BunchedOperator
from vaecomp_native.compression.encoder import Encoder
from vaecomp_native.compression.operators import Operator
from vaecomp_native.quantization.contexts import ContextLevels, fit_contexts
from vaecomp_native.quantization.entropy import entropy_bits, table_bits
from vaecomp_native.quantization.feedback import Curvature, Grid, OutOfRangeError, sweep
from vaecomp_native.quantization.matrix import (
    LARGEST_SYMBOL,
    Float32Array,
    QuantizedMatrix,
    slabs,
)

BIAS_BITS = 8
"""About the bits of an element of a bias."""
SAMPLE, MAX_FACTOR = 1 << 15, 64
"""The least elements looked at of a larger tensor, and of how many each is one at most."""


@dataclass(frozen=True)
class _Sample:
    """Some rows of an operator's matrix, and of each as many of its first columns.

    Columns that pass on their errors are all there. `row_maxima` are the largest magnitudes of all
    rows.
    """

    operator: Operator
    nbytes: int
    rows: npt.NDArray[np.int64]
    values: Float32Array
    row_maxima: Float32Array

    @classmethod
    def of(cls, operator: Operator, encoder: Encoder, factor: int) -> _Sample:
        columns = len(operator.curvature.order)
        matrix = encoder.target(operator)[:, :columns]
        rows = len(matrix)
        size = max(SAMPLE, matrix.size // factor)
        width = columns if operator.curvature.feedback is not None else min(columns, size)
        count = min(rows, max(size // max(width, 1), 1))
        chosen = np.linspace(0, rows - 1, count).astype(np.int64)
        values = np.ascontiguousarray(matrix[chosen, :width], np.float32)
        maxima = np.empty(rows, np.float32)
        for some in slabs(matrix.shape):
            part = matrix[some].astype(np.float32, copy=False)
            maxima[some] = np.maximum(part.max(1), -part.min(1))
        nbytes = sum(encoder.arrays[name].nbytes for name in operator.tensors)
        return cls(operator, nbytes, chosen, values, maxima)

    @property
    def factor(self) -> float:
        """The number of elements that an element of the sample stands for."""
        return self.factors[0] * self.factors[1]

    @property
    def factors(self) -> tuple[float, float]:
        """The same for rows and for columns."""
        rows, columns = self.values.shape
        operator = self.operator
        return len(operator.row_weights) / rows, len(operator.curvature.order) / columns

    def quantize(self, rate_weight: float, threads: int) -> tuple[QuantizedMatrix, Grid]:
        """Quantize the sample as the whole would be. Raises OutOfRangeError if that would."""
        operator = self.operator
        weight = rate_weight / operator.multiplier
        grid = Grid.of(operator.curvature, operator.row_weights, weight)
        has_feedback = operator.curvature.feedback is not None
        with np.errstate(over="ignore"):
            reach = (self.row_maxima / grid.row_scales).max(initial=0.0)
        if not has_feedback and not reach <= LARGEST_SYMBOL:
            raise OutOfRangeError
        columns = self.values.shape[1]
        part = grid.part(self.rows, columns)
        curvature = operator.curvature if has_feedback else Curvature.flat(columns)
        return sweep(self.values, curvature, part, weight, threads), grid


@dataclass(frozen=True)
class _Bunch:
    """The values of small tensors that are quantized together, and the bytes of each tensor."""

    operator: BunchedOperator
    values: Float32Array
    nbytes: Mapping[str, int]

    def bits(self, rate_weight: float, threads: int) -> float:
        found = self.operator.quantize(self.values, rate_weight, "feedback", threads)
        return found.bits + 8 * sum(n for name, n in self.nbytes.items() if name not in found)


class SizePredictor:
    """Predicts the bits of the operators of encodings without corrections."""

    def __init__(self, threads: int, *, factor: int = MAX_FACTOR, stride: int = 1) -> None:
        """Begin without samples.

        `factor` is the most elements of a large tensor that one looked at stands for. One of
        `stride` bunches of small tensors is looked at.
        """
        self._threads = threads
        self._factor = factor
        self._stride = stride
        self._samples: list[_Sample] = []
        self._bunches: list[_Bunch] = []
        self._seen_bunches = 0
        self._elements = 0
        self._matrices = 0

    @classmethod
    def of(cls, encoder: Encoder) -> SizePredictor:
        """Take samples of one encoder's tensors."""
        predictor = cls(encoder.threads)
        predictor.add(encoder)
        return predictor

    def add(self, encoder: Encoder) -> None:
        """Take samples of the tensors of one more encoder."""
        for operator in encoder.operators:
            self._elements += operator.elements
            self._matrices += len(operator.tensors)
            if isinstance(operator, Operator):
                self._samples.append(_Sample.of(operator, encoder, self._factor))
                continue
            if self._seen_bunches % self._stride == 0:
                nbytes = {name: encoder.arrays[name].nbytes for name in operator.tensors}
                self._bunches.append(_Bunch(operator, encoder.target(operator), nbytes))
            self._seen_bunches += 1

    def bits(self, rate_weight: float) -> float:
        """Predict the bits of all tensors in the file at a rate weight."""
        total = 0.0
        quantized: list[tuple[_Sample, QuantizedMatrix]] = []
        for sample in self._samples:
            try:
                matrix, grid = sample.quantize(rate_weight, self._threads)
            except OutOfRangeError:
                total += 8 * sample.nbytes
                continue
            total += _axis_bits(grid.row_exponents)
            total += BIAS_BITS * len(grid.row_exponents) * len(sample.operator.biases[:1])
            quantized.append((sample, matrix))
        share = self._seen_bunches / max(len(self._bunches), 1)
        for bunch in self._bunches:
            total += share * bunch.bits(rate_weight, self._threads)
        if quantized:
            tried = tables_to_try(self._elements, self._matrices)
            total += min(_section_bits(quantized, tables, self._threads) for tables in tried)
        return total

    def of_operators(self, rate_weight: float) -> dict[str, float]:
        """Predict the bits of operators one by one, as `total_bits` counts them."""
        found = {}
        for sample in self._samples:
            with suppress(OutOfRangeError):
                matrix, grid = sample.quantize(rate_weight, self._threads)
                symbols = sample.factor * _axis_bits(matrix.symbols)
                found[sample.operator.name] = symbols + _axis_bits(grid.row_exponents)
        return found


def _section_bits(
    quantized: Sequence[tuple[_Sample, QuantizedMatrix]], tables: int, threads: int
) -> float:
    """The bits of symbols and levels of all that samples stand for, with so many tables."""
    matrices = [matrix for _, matrix in quantized]
    fit = fit_contexts([one.symbols for one in matrices], tables, threads)
    symbols = axes = seen = 0.0
    for (sample, _), bits, levels in zip(quantized, fit.bits.tolist(), fit.levels, strict=True):
        symbols += sample.factor * bits
        axes += _level_bits(levels, sample.factors)
        seen += _level_bits(levels, (1.0, 1.0))
    frequencies = sum(map(table_bits, fit.counts))
    # What the coder takes beyond the entropy: states of its lanes, rounded frequencies.
    coded = 8 * len(encode_fitted(matrices, fit)) - seen - frequencies
    return frequencies + axes + symbols * max(coded / max(float(fit.bits.sum()), 1.0), 1.0)


def _level_bits(levels: ContextLevels, factors: tuple[float, float]) -> float:
    """About the bits of the levels of so many times the rows and the columns."""
    return sum(
        factor * _axis_bits(axis)
        for factor, axis in zip(factors, (levels.rows, levels.columns), strict=True)
        if axis is not None
    )


def _axis_bits(values: npt.NDArray[Any]) -> float:
    return entropy_bits(np.unique(values, return_counts=True)[1])
