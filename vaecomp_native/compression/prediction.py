"""The size of an encoding without corrections, predicted from samples of the large tensors.

A search for a rate weight asks for many sizes. Each costs as much as a sample here, and not as much
as the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from vaecomp_native.quantization.matrix import LARGEST_SYMBOL, Float32Array, QuantizedMatrix

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
    def of(cls, operator: Operator, encoder: Encoder) -> _Sample:
        columns = len(operator.curvature.order)
        matrix = encoder.target(operator)[:, :columns]
        rows = len(matrix)
        size = max(SAMPLE, matrix.size // MAX_FACTOR)
        width = columns if operator.curvature.feedback is not None else min(columns, size)
        count = min(rows, max(size // max(width, 1), 1))
        chosen = np.linspace(0, rows - 1, count).astype(np.int64)
        values = np.ascontiguousarray(matrix[chosen, :width])
        maxima = np.maximum(matrix.max(1), -matrix.min(1))
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
        with np.errstate(over="ignore"):
            reach = (self.row_maxima / grid.row_scales).max(initial=0.0)
        if not reach <= LARGEST_SYMBOL:
            raise OutOfRangeError
        columns = self.values.shape[1]
        part = grid.part(self.rows, columns)
        has_feedback = operator.curvature.feedback is not None
        curvature = operator.curvature if has_feedback else Curvature.flat(columns)
        return sweep(self.values, curvature, part, weight, threads), grid


class SizePredictor:
    """Predicts the bits of the operators of an encoder without calibration."""

    def __init__(self, encoder: Encoder) -> None:
        """Take samples of the encoder's tensors."""
        self._encoder = encoder
        self._samples = [
            _Sample.of(one, encoder) for one in encoder.operators if isinstance(one, Operator)
        ]
        self._bunches = [one for one in encoder.operators if isinstance(one, BunchedOperator)]
        self._elements = sum(one.elements for one in encoder.operators)
        self._matrices = sum(len(one.tensors) for one in encoder.operators)

    def bits(self, rate_weight: float) -> float:
        """Predict the bits of all tensors in the file at a rate weight."""
        encoder = self._encoder
        total = 0.0
        quantized: list[tuple[_Sample, QuantizedMatrix]] = []
        for sample in self._samples:
            try:
                matrix, grid = sample.quantize(rate_weight, encoder.threads)
            except OutOfRangeError:
                total += 8 * sample.nbytes
                continue
            total += _axis_bits(grid.row_exponents)
            total += BIAS_BITS * len(grid.row_exponents) * len(sample.operator.biases[:1])
            quantized.append((sample, matrix))
        for bunch in self._bunches:
            total += _bunch_bits(encoder, bunch, rate_weight)
        if quantized:
            tried = tables_to_try(self._elements, self._matrices)
            total += min(_section_bits(quantized, tables, encoder.threads) for tables in tried)
        return total

    def of_operators(self, rate_weight: float) -> dict[str, float]:
        """Predict the bits of operators one by one, as `total_bits` counts them."""
        found = {}
        for sample in self._samples:
            with suppress(OutOfRangeError):
                matrix, grid = sample.quantize(rate_weight, self._encoder.threads)
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


def _bunch_bits(encoder: Encoder, bunch: BunchedOperator, rate_weight: float) -> float:
    target = encoder.target(bunch)
    found = bunch.quantize(target, rate_weight, encoder.quantizer, encoder.threads)
    exact = sum(encoder.arrays[name].nbytes for name in bunch.tensors if name not in found)
    return found.bits + 8 * exact


def _level_bits(levels: ContextLevels, factors: tuple[float, float]) -> float:
    """About the bits of the levels of so many times the rows and the columns."""
    return sum(
        factor * _axis_bits(axis)
        for factor, axis in zip(factors, (levels.rows, levels.columns), strict=True)
        if axis is not None
    )


def _axis_bits(values: npt.NDArray[Any]) -> float:
    return entropy_bits(np.unique(values, return_counts=True)[1])
