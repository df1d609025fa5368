"""Scalar quantization with error feedback and rate-distortion decisions.

Columns are quantized one after another while the columns behind take over their errors (Hassibi & Stork 1993; Frantar et
al. 2022, arXiv 2210.17323); each decision weighs distortion against the bits of its symbol. See docs/quantization.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.io.scratch import Scratch
from vaecomp_native.quantization.matrix import (
    LARGEST_SYMBOL,
    QuantizedMatrix,
    scales,
    slabs,
    to_bfloat16,
)
from vaecomp_native.quantization.uniform import round_to_step, usable_step

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

DAMPING = 0.01
"""Added to a second moment's diagonal, relative to its mean: singular moments become regular."""
STEP = 3.2
"""Step in units of sqrt(rate weight / curvature). Theory for high rates says 2.9; wider won on four networks at 1 bit."""
DECISION = 0.35
"""How much of the rate weight the decisions use. All of it shrinks weights, which adds up over recurrent steps."""
SCALE_POWER = 0.25
"""Scales follow curvature^-0.25, halfway between one step for all and steps for equal cost."""
MIN_ROW_WEIGHT = 1e-3
"""Of a row, relative to the geometric mean of those that count: rows that calibration never moved still get some precision."""
LARGEST_EXPONENT = 32
STEP_RANGE = (2.0**-94, 2.0**94)
"""With exponents of rows and of columns up to the largest, scales are still normal float32 numbers."""
MARGIN = 16
SWEEPS = 2
"""The first sweep guesses what symbols cost, the second counts."""


class OutOfRangeError(Exception):
    """Some value is too many steps away from zero for a symbol."""


@dataclass(frozen=True)
class Curvature:
    """What errors in the columns of an operator cost: the second moment of its inputs, factorized.

    With columns in `order`, an error in column j alone costs `energy[j]` times its square; quantized in turn it costs `diagonal[j]`
    and the columns behind take over `feedback[j]` of it (None: columns are independent). `mean`, for an operator with a bias, is what the bias takes
    over from an error in each column, in their own order.
    """

    order: IntArray
    energy: Float64Array
    diagonal: Float32Array
    feedback: Float32Array | None
    mean: Float64Array | None = None

    @classmethod
    def of(cls, moment: Float64Array, bias: bool, damping: float = DAMPING) -> Curvature:
        """Factorize a second moment [C, C], with `bias` [C + 1, C + 1]; columns with much energy go first.

        `damping` of its mean diagonal is added to its diagonal.
        """
        columns = len(moment) - bias
        energy = np.diagonal(moment)[:columns]
        order = np.append(np.argsort(-energy, kind="stable"), np.arange(columns, len(moment)))
        added = max(damping * float(energy.mean()), 1e-30)
        regular = moment[np.ix_(order, order)]
        regular[np.diag_indices_from(regular)] += added
        # Upper triangular R with R R^T = moment; its inverse is the Cholesky factor of the moment's inverse.
        factor = np.linalg.cholesky(regular[::-1, ::-1])[::-1, ::-1]
        share = np.linalg.inv(factor)[:columns, :columns]
        share /= np.diagonal(share)[:, None].copy()
        diagonal = np.square(np.diagonal(factor))[:columns]
        mean = moment[:columns, -1] / max(float(moment[-1, -1]), 1e-30) if bias else None
        return cls(
            order[:columns],
            np.diagonal(regular)[:columns].copy(),
            diagonal.astype(np.float32),
            np.triu(share.astype(np.float32)),
            mean,
        )

    def kept_in(self, scratch: Scratch) -> Curvature:
        """The same with its largest part in `scratch`."""
        feedback = None if self.feedback is None else scratch.copy(self.feedback)
        return replace(self, feedback=feedback)

    @classmethod
    def flat(cls, columns: int) -> Curvature:
        """Columns that count alike and know nothing of each other."""
        return cls(np.arange(columns), np.ones(columns), np.ones(columns, np.float32), None)


@dataclass(frozen=True)
class QuantizedOperator:
    """A linear operator's weights [R, C] and its bias [1, R], if it has one."""

    weights: QuantizedMatrix
    bias: QuantizedMatrix | None

    def matrix(self) -> Float32Array:
        """Decoded weights with the bias as last column: float32 [R, C] or [R, C + 1]."""
        values = self.weights.values()
        return values if self.bias is None else np.column_stack([values, self.bias.values()[0]])


def feedback_quantize(
    matrix: Float32Array,
    curvature: Curvature,
    row_weights: Float64Array,
    rate_weight: float,
    *,
    threads: int = 0,
) -> QuantizedOperator:
    """Quantize an operator's matrix float32 [R, C], or [R, C + 1] with its bias.

    Makes the sum over rows of `row_weights` [R] times the curvature's squared error, plus `rate_weight` times the bits, small.

    Raises OutOfRangeError if a value is more than `LARGEST_SYMBOL` steps away from zero.
    """
    columns = len(curvature.order)
    grid = _Grid.of(curvature, row_weights, rate_weight)
    weights = _sweep(matrix[:, :columns], curvature, grid, rate_weight, threads)
    if curvature.mean is None:
        return QuantizedOperator(weights, None)
    error = matrix[:, :columns].astype(np.float64) - weights.values()
    bias = matrix[None, :, columns] + error @ curvature.mean
    # A bias is never worth more than 11 bits.
    step = usable_step(bias.astype(np.float32), grid.bias_step)
    return QuantizedOperator(weights, QuantizedMatrix(round_to_step(bias, step), step))


@dataclass(frozen=True)
class _Grid:
    """Steps of an operator's elements: one step, and exponents in half octaves for rows and columns."""

    step: float
    bias_step: float
    row_weights: Float32Array
    row_exponents: npt.NDArray[np.int8]
    column_exponents: npt.NDArray[np.int8]

    @classmethod
    def of(cls, curvature: Curvature, row_weights: Float64Array, rate_weight: float) -> _Grid:
        rows = np.maximum(row_weights, MIN_ROW_WEIGHT * _geometric_mean(row_weights))
        diagonal = curvature.diagonal.astype(np.float64)
        mean_row = _geometric_mean(rows[row_weights > 0])
        mean_column = _geometric_mean(diagonal)
        columns = np.empty(len(diagonal), np.int8)
        columns[curvature.order] = half_octaves(diagonal / mean_column)
        return cls(
            float(steps_for(rate_weight, mean_row * mean_column)),
            float(steps_for(rate_weight, mean_row)),
            rows.astype(np.float32),
            half_octaves(rows / mean_row),
            columns,
        )


def _sweep(
    matrix: Float32Array, curvature: Curvature, grid: _Grid, rate_weight: float, threads: int
) -> QuantizedMatrix:
    order = curvature.order
    row_scales = scales(grid.step, grid.row_exponents.astype(np.int32))
    column_scales = scales(1.0, grid.column_exponents[order].astype(np.int32))
    # Errors that are passed on may push values beyond their own range.
    limit = min(LARGEST_SYMBOL, _reach(matrix, row_scales, column_scales, order) + MARGIN)
    symbols = np.empty(matrix.shape, np.int16)
    for sweep in range(SWEEPS):
        bits = guessed_bits(limit) if sweep == 0 else counted_bits(symbols, limit)
        for rows in slabs(matrix.shape):
            part = np.ascontiguousarray(matrix[rows][:, order], np.float32)
            symbols[rows][:, order] = _core.feedback_quantize(
                part,
                curvature.feedback,
                curvature.diagonal,
                grid.row_weights[rows],
                row_scales[rows],
                column_scales,
                DECISION * rate_weight,
                bits[None],
                -limit,
                np.zeros(len(part), np.uint8),
                np.zeros(len(order), np.uint8),
                threads,
            )
    exponents = (_unless_zero(grid.row_exponents), _unless_zero(grid.column_exponents))
    return QuantizedMatrix(symbols, grid.step, None, *exponents)


def _reach(
    matrix: Float32Array, row_scales: Float32Array, column_scales: Float32Array, order: IntArray
) -> int:
    """How many steps the values are away from zero at most. Raises OutOfRangeError if too many."""
    reach = 0.0
    with np.errstate(over="ignore"):
        for rows in slabs(matrix.shape):
            scaled = np.abs(matrix[rows][:, order]) / (row_scales[rows, None] * column_scales)
            reach = float(np.maximum(reach, scaled.max(initial=0.0)))  # keeps NaN
    if not reach <= LARGEST_SYMBOL:
        raise OutOfRangeError
    return math.ceil(reach)


def _unless_zero(exponents: npt.NDArray[np.int8]) -> npt.NDArray[np.int8] | None:
    return exponents if exponents.any() else None


def guessed_bits(limit: int) -> Float32Array:
    """Bits of symbols -limit .. limit before any are known: a little more than 2 for each step away from zero."""
    return (2.0 * np.abs(np.arange(-limit, limit + 1)) + 0.6).astype(np.float32)


def counted_bits(symbols: npt.NDArray[np.int16], limit: int) -> Float32Array:
    """Ideal bits of symbols -limit .. limit from their counts; symbols not seen yet cost what a small count would."""
    counts = np.zeros(2 * limit + 1)
    for rows in slabs(symbols.shape):
        counts += np.bincount(symbols[rows].ravel() + limit, minlength=len(counts))
    return smoothed_bits(counts)


def smoothed_bits(counts: Float64Array) -> Float32Array:
    """Ideal bits of symbols -limit .. limit from their counts."""
    limit = len(counts) // 2
    distance = np.abs(np.arange(-limit, limit + 1))
    smooth = counts + 0.3 * np.exp(-np.minimum(distance, 50) / 2)
    bits: Float32Array = -np.log2(smooth / smooth.sum()).astype(np.float32)
    return bits


def steps_for(rate_weight: float, weights: Float64Array | float) -> Float32Array:
    """The steps where an error counts `weights` times its square."""
    return to_bfloat16(np.clip(STEP * np.sqrt(rate_weight / np.asarray(weights)), *STEP_RANGE))


def half_octaves(relative: Float64Array) -> npt.NDArray[np.int8]:
    """Scales in half octaves where errors count so much, relative to the mean."""
    halves = np.rint(-2 * SCALE_POWER * np.log2(relative))
    return np.clip(halves, -LARGEST_EXPONENT, LARGEST_EXPONENT).astype(np.int8)


def _geometric_mean(values: Float64Array) -> float:
    """Of those that are not 0."""
    positive = values[values > 0]
    return float(np.exp(np.log(np.maximum(positive, 1e-30)).mean())) if len(positive) else 1.0
