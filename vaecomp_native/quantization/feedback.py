"""Scalar quantization with error feedback and rate-distortion decisions.

Columns are quantized one after another, and the columns behind take over their errors (Hassibi &
Stork 1993; Frantar et al. 2022, arXiv 2210.17323). Each decision weighs distortion against the bits
of its symbol. See docs/quantization.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

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

FloatArray = npt.NDArray[Any]
"""Of float32, or of a dtype that converts to it."""
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

DAMPING = 0.01
"""The addition to a second moment's diagonal, relative to its mean. It makes moments regular."""
COMMON_SHARE = 0.99
"""The share of an operator's columns whose energy says what is typical."""
STEP = 3.2
"""The step in units of sqrt(rate weight / curvature).

Theory for high rates says 2.9. Wider steps won on four networks at 1 bit.
"""
DECISION = 0.35
"""The share of the rate weight that decisions use.

All of it would shrink weights, which adds up over recurrent steps.
"""
SCALE_POWER = 0.25
"""The power of 1 / curvature that scales follow.

It is halfway between one step for all and steps of equal cost.
"""
MIN_ROW_WEIGHT = 1e-3
"""The minimum weight of a row, relative to the geometric mean of those above 0.

So rows that calibration never moved get some precision, too.
"""
LARGEST_EXPONENT = 32
"""The largest exponent of a row or column in magnitude, in half octaves."""
STEP_RANGE = (2.0**-94, 2.0**94)
"""The range of steps: scales stay normal float32 numbers with any exponents of row and column."""
MARGIN = 16
"""The steps by which passed-on errors may push a value beyond the range of all values."""
SWEEP_ELEMENTS = 1 << 22
"""The number of elements that are swept at a time where columns are independent."""
SMALL_TRIANGLE = 64
"""The rows of a triangular matrix that is inverted as a whole."""
SWEEPS = 2
"""The number of sweeps: the first one guesses the symbols' bits, the second one counts symbols."""


class OutOfRangeError(Exception):
    """A value is too many steps away from zero for a symbol."""


@dataclass(frozen=True)
class Curvature:
    """The cost of errors in an operator's columns: the second moment of its inputs, factorized.

    All but `mean` have the columns in `order`. An error in column j alone costs `energy[j]` times
    its square. Quantized in turn, it costs `diagonal[j]` times its square, and the columns behind
    take over `feedback[j]` times the error. Without `feedback` columns are independent. `mean` is
    the share of each column's error that a bias takes over, with the columns in their own order.
    """

    order: IntArray
    energy: Float64Array
    diagonal: Float32Array
    feedback: Float32Array | None
    mean: Float64Array | None = None

    @classmethod
    def of(cls, moment: Float64Array, bias: bool, damping: float = DAMPING) -> Curvature:
        """Factorize a second moment [C, C], or [C + 1, C + 1] with `bias`.

        The columns with the largest energy go first. `damping` times their `typical_energy` is
        added to its diagonal.
        """
        columns = len(moment) - bias
        energy = np.diagonal(moment)[:columns]
        order = np.append(np.argsort(-energy, kind="stable"), np.arange(columns, len(moment)))
        added = max(damping * typical_energy(energy), 1e-30)
        regular = moment[np.ix_(order, order)]
        regular[np.diag_indices_from(regular)] += added
        # R is upper triangular with R R^T = moment. R^-1 is the Cholesky factor of the inverse.
        factor = np.linalg.cholesky(regular[::-1, ::-1])[::-1, ::-1]
        share = inverse_of_triangle(factor)[:columns, :columns]
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
        """The same with `feedback`, its largest part, in `scratch`."""
        feedback = None if self.feedback is None else scratch.copy(self.feedback)
        return replace(self, feedback=feedback)

    @classmethod
    def flat(cls, columns: int) -> Curvature:
        """Make a curvature of independent columns that count alike."""
        return cls(np.arange(columns), np.ones(columns), np.ones(columns, np.float32), None)


def inverse_of_triangle(matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The inverse of an upper triangular matrix [n, n], by halves: a sixth of a general one's work.

    [[A, B], [0, C]]^-1 = [[A^-1, -A^-1 B C^-1], [0, C^-1]]
    """
    if len(matrix) <= SMALL_TRIANGLE:
        return np.triu(np.linalg.inv(matrix))
    half = len(matrix) // 2
    inverse = np.zeros_like(matrix)
    inverse[:half, :half] = inverse_of_triangle(matrix[:half, :half])
    inverse[half:, half:] = inverse_of_triangle(matrix[half:, half:])
    inverse[:half, half:] = -inverse[:half, :half] @ matrix[:half, half:] @ inverse[half:, half:]
    return inverse


def typical_energy(energies: Float64Array) -> float:
    """The mean of energies, none counted as more than nearly all others.

    A few inputs of a language model may have a million times the energy of the rest.
    """
    return float(np.minimum(energies, np.quantile(energies, COMMON_SHARE)).mean())


@dataclass(frozen=True)
class QuantizedOperator:
    """A linear operator's weights [R, C] and its bias [1, R], if it has one."""

    weights: QuantizedMatrix
    bias: QuantizedMatrix | None

    def matrix(self) -> Float32Array:
        """Decode to weights with the bias as last column: float32 [R, C] or [R, C + 1]."""
        values = self.weights.values()
        return values if self.bias is None else np.column_stack([values, self.bias.values()[0]])


def feedback_quantize(
    matrix: FloatArray,
    curvature: Curvature,
    row_weights: Float64Array,
    rate_weight: float,
    *,
    threads: int = 0,
) -> QuantizedOperator:
    """Quantize an operator's matrix of floats [R, C], or [R, C + 1] with its bias.

    Makes one sum small: over all rows `row_weights` [R] times the cost of the row's errors by
    `curvature`, plus `rate_weight` times the bits.

    Raises OutOfRangeError if a value is more than `LARGEST_SYMBOL` steps away from zero.
    """
    columns = len(curvature.order)
    grid = Grid.of(curvature, row_weights, rate_weight)
    weights = sweep(matrix[:, :columns], curvature, grid, rate_weight, threads)
    if curvature.mean is None:
        return QuantizedOperator(weights, None)
    error = matrix[:, :columns].astype(np.float64) - weights.values()
    bias = matrix[None, :, columns] + error @ curvature.mean
    # A bias is never worth more than 11 bits.
    step = usable_step(bias.astype(np.float32), grid.bias_step)
    return QuantizedOperator(weights, QuantizedMatrix(round_to_step(bias, step), step))


@dataclass(frozen=True)
class Grid:
    """The steps of an operator's elements: a step, and half octaves of rows and columns."""

    step: float
    bias_step: float
    row_weights: Float32Array
    row_exponents: npt.NDArray[np.int8]
    column_exponents: npt.NDArray[np.int8]

    @classmethod
    def of(cls, curvature: Curvature, row_weights: Float64Array, rate_weight: float) -> Grid:
        """Make the grid of an operator whose rows count `row_weights` [R]."""
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

    def part(self, rows: IntArray, columns: int) -> Grid:
        """The grid of some rows, and of the first columns of a matrix."""
        return replace(
            self,
            row_weights=self.row_weights[rows],
            row_exponents=self.row_exponents[rows],
            column_exponents=self.column_exponents[:columns],
        )

    def reaching(self, matrix: Float32Array) -> Grid | None:
        """The same with coarser columns where values of a matrix [R, C] are too many steps away.

        A few inputs of a language model may have a million times the energy of the rest. Their
        columns have so fine steps that `LARGEST_SYMBOL` of them do not reach. None if no exponent
        makes them coarse enough.
        """
        with np.errstate(over="ignore"):
            largest = (np.abs(matrix) / self.row_scales[:, None]).max(0)
            steps = largest / scales(1.0, self.column_exponents.astype(np.int32))
        more = np.ceil(2 * np.log2(np.maximum(steps / (LARGEST_SYMBOL - MARGIN), 1.0)))
        exponents = self.column_exponents + more
        if not (exponents <= LARGEST_EXPONENT).all():
            return None
        return replace(self, column_exponents=exponents.astype(np.int8))

    @property
    def row_scales(self) -> Float32Array:
        """The steps of the rows, float32 [R], where a column's exponent is 0."""
        return scales(self.step, self.row_exponents.astype(np.int32))


def sweep(
    matrix: FloatArray, curvature: Curvature, grid: Grid, rate_weight: float, threads: int
) -> QuantizedMatrix:
    """Quantize weights [R, C] on a grid. Raises OutOfRangeError.

    Rows go together if errors are passed on, for then they share a large `feedback`. Otherwise they
    are swept in slabs, so that only a part of a large matrix is float32.
    """
    order = curvature.order
    row_scales = grid.row_scales
    column_scales = scales(1.0, grid.column_exponents.astype(np.int32))
    is_flat = curvature.feedback is None
    parts = [*slabs(matrix.shape, SWEEP_ELEMENTS)] if is_flat else [slice(0, len(matrix))]

    def values(rows: slice) -> Float32Array:
        return np.ascontiguousarray(matrix[rows], np.float32)

    levels = (
        _core.largest_level(values(rows), row_scales[rows], column_scales, threads)
        for rows in parts
    )
    reach = max(levels, default=0.0)
    if not reach <= LARGEST_SYMBOL:
        wider = None if is_flat else grid.reaching(values(parts[0]))
        if wider is None:
            raise OutOfRangeError
        return sweep(matrix, curvature, wider, rate_weight, threads)
    # Errors that are passed on may push values beyond the range of all values.
    limit = min(LARGEST_SYMBOL, math.ceil(reach) + MARGIN)
    bits = guessed_bits(limit)
    symbols = np.empty(matrix.shape, np.int8 if limit <= np.iinfo(np.int8).max else np.int16)
    for _ in range(SWEEPS):
        counts = np.zeros(2 * limit + 1, np.uint64)
        for rows in parts:
            symbols[rows], counted = _core.feedback_quantize(
                values(rows),
                None if is_flat else order.astype(np.uint32),
                curvature.feedback,
                curvature.diagonal,
                grid.row_weights[rows],
                row_scales[rows],
                column_scales[order],
                DECISION * rate_weight,
                bits[None],
                -limit,
                np.zeros(len(row_scales[rows]), np.uint8),
                threads,
            )
            counts += counted[0]
        bits = smoothed_bits(counts)
    exponents = (_unless_zero(grid.row_exponents), _unless_zero(grid.column_exponents))
    return QuantizedMatrix(symbols, grid.step, None, *exponents)


def _unless_zero(exponents: npt.NDArray[np.int8]) -> npt.NDArray[np.int8] | None:
    return exponents if exponents.any() else None


def guessed_bits(limit: int) -> Float32Array:
    """Bits of symbols -limit .. limit before any is counted: 2 for each step away from zero."""
    return (2.0 * np.abs(np.arange(-limit, limit + 1)) + 0.6).astype(np.float32)


def smoothed_bits(counts: npt.NDArray[Any]) -> Float32Array:
    """Ideal bits of symbols -limit .. limit from their counts. Unseen ones get a small count."""
    limit = len(counts) // 2
    distance = np.abs(np.arange(-limit, limit + 1))
    smooth = counts + 0.3 * np.exp(-np.minimum(distance, 50) / 2)
    bits: Float32Array = -np.log2(smooth / smooth.sum()).astype(np.float32)
    return bits


def steps_for(rate_weight: float, weights: Float64Array | float) -> Float32Array:
    """The steps for errors that cost `weights` times their square."""
    return to_bfloat16(np.clip(STEP * np.sqrt(rate_weight / np.asarray(weights)), *STEP_RANGE))


def half_octaves(relative: Float64Array) -> npt.NDArray[np.int8]:
    """The scales, in half octaves, for errors with weights `relative` to the mean."""
    halves = np.rint(-2 * SCALE_POWER * np.log2(relative))
    return np.clip(halves, -LARGEST_EXPONENT, LARGEST_EXPONENT).astype(np.int8)


def _geometric_mean(values: Float64Array) -> float:
    """The geometric mean of the values above 0; 1 if there are none."""
    positive = values[values > 0]
    return float(np.exp(np.log(np.maximum(positive, 1e-30)).mean())) if len(positive) else 1.0
