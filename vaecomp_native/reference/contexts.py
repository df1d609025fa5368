"""Fitting context levels (docs/quantization.md, Context levels)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
IntArray = npt.NDArray[np.int64]
Levels = npt.NDArray[np.uint8]

TINY = 1024
"""The maximum elements of a matrix that has one level for all."""
SAMPLE_ELEMENTS, SAMPLE_ROWS = 1 << 16, 128
"""The least elements and rows of a matrix that all turns but the last one look at."""
UNIT = 1 << 20
"""The weight of one symbol in a table."""
KEPT = 0.02
"""The share of a symbol that a table keeps from the turn before."""
MAX_COST = 0xFFFF


def fit_contexts(
    symbols: Sequence[Array], frequencies: npt.NDArray[np.float64], first: int, rounds: int
) -> tuple[
    list[tuple[int, Levels | None, Levels | None]],
    npt.NDArray[np.uint64],
    npt.NDArray[np.uint64],
]:
    """Fit levels of matrices of integers [R, C] that share tables.

    `frequencies` [tables, N] are those of symbols `first`, `first + 1`, ... at the start. Gives for
    each matrix its level and those of rows and columns, None for zeros; about what each matrix'
    symbols take, in 1/256 bits, uint64; and how often each table codes each symbol, uint64
    [tables, N].
    """
    fits = [_Fit(one.astype(np.int64) - first, len(frequencies)) for one in symbols]
    weights = _weights(frequencies * UNIT)
    counts = np.zeros(frequencies.shape, np.uint64)
    for turn in range(rounds):
        if turn > 0:
            shares = weights / weights.sum(1, keepdims=True)
            weights = _weights(counts + KEPT * shares)
        costs = _costs(weights)
        for fit in fits:
            fit.choose(costs, priced=turn > 0, last=turn == rounds - 1)
        counts = sum((fit.counts(counts.shape) for fit in fits), np.zeros_like(counts))
    taken = np.array([fit.taken for fit in fits], np.uint64)
    return [fit.compact() for fit in fits], taken, counts


class _Fit:
    def __init__(self, symbols: IntArray, tables: int) -> None:
        self.tiny = symbols.size <= TINY
        self.symbols = symbols.reshape(1, -1) if self.tiny else symbols
        self.tables = tables
        self.stride = max(1, min(symbols.size // SAMPLE_ELEMENTS, len(symbols) // SAMPLE_ROWS))
        self.levels = [np.zeros(length, np.int64) for length in self.symbols.shape]
        self.taken = 0

    def choose(self, costs: IntArray, *, priced: bool, last: bool) -> None:
        """Give each column, then each row the level at which it costs least.

        Only the `last` turn looks at all rows.
        """
        if not self.symbols.size:
            return
        prices = [self._prices(axis) if priced and not self.tiny else 0 for axis in (0, 1)]
        if not self.tiny:
            self.levels[1] = (self._costs(costs, 1) + prices[1]).argmin(1)
            self.levels[1] -= self.levels[1].min()
        if last:
            self.stride = 1
        by_row = self._costs(costs, 0)
        chosen = (by_row + prices[0]).argmin(1)
        self.levels[0][:: self.stride] = chosen
        self.taken = int(np.take_along_axis(by_row, chosen[:, None], 1).sum())

    def _costs(self, costs: IntArray, axis: int) -> IntArray:
        """The cost of each row looked at (axis 0) or column (axis 1) at each level."""
        symbols = self.symbols[:: self.stride]
        rows = self.levels[0][:: self.stride, None]
        others = self.levels[1][None, :] if axis == 0 else rows
        return np.stack(
            [
                costs[np.minimum(others + level, self.tables - 1), symbols].sum(1 - axis)
                for level in range(self.tables)
            ],
            1,
        )

    def _prices(self, axis: int) -> IntArray:
        levels = self.levels[0][:: self.stride] if axis == 0 else self.levels[1]
        halves = 2 * np.bincount(levels, minlength=self.tables) + 1
        return _logarithms(halves.sum()) - _logarithms(halves)

    def counts(self, shape: tuple[int, ...]) -> npt.NDArray[np.uint64]:
        """How often each table codes each symbol."""
        counts = np.zeros(shape, np.uint64)
        rows = self.levels[0][:: self.stride, None]
        tables = np.minimum(rows + self.levels[1], self.tables - 1)
        np.add.at(counts, (tables, self.symbols[:: self.stride]), 1)
        return counts

    def compact(self) -> tuple[int, Levels | None, Levels | None]:
        """The level that all have in common, and the levels above it."""
        if not self.symbols.size:
            return 0, None, None
        lowest = [int(levels.min()) for levels in self.levels]
        raised = [levels - low for levels, low in zip(self.levels, lowest, strict=True)]
        rows, columns = (one.astype(np.uint8) if one.any() else None for one in raised)
        return sum(lowest), rows, columns


def _weights(frequencies: npt.NDArray[np.float64]) -> IntArray:
    return np.maximum((frequencies * UNIT).astype(np.int64), 1)


def _costs(weights: IntArray) -> IntArray:
    """The costs of symbols in 1/256 bits, int64 [tables, N]."""
    totals = _logarithms(weights.sum(1, keepdims=True))
    costs: IntArray = np.minimum(totals - _logarithms(weights), MAX_COST)
    return costs


def _logarithms(values: Any) -> IntArray:
    """floor(256 log2(value)) of the first 32 binary digits of each value above 0."""
    mantissa = np.array(values, np.uint64)
    widths = np.array([int(one).bit_length() for one in mantissa.flat]).reshape(mantissa.shape)
    result = widths.astype(np.int64) - 1
    mantissa <<= np.maximum(31 - result, 0).astype(np.uint64)
    mantissa >>= np.maximum(result - 31, 0).astype(np.uint64)
    for _ in range(8):
        mantissa = mantissa * mantissa >> np.uint64(31)
        bit = mantissa >> np.uint64(32)
        mantissa >>= bit
        result = 2 * result + bit.astype(np.int64)
    return result
