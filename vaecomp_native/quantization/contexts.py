"""Context levels: which of a few shared frequency tables codes a symbol.

The table of element (i, j) of a matrix is level + row_levels[i] + column_levels[j]: tables go from quiet (nearly all zeros) to
lively, and rows and columns say how lively they are. Levels and tables are fitted by turns, as in k-means: each row
takes the level that costs least, then each table its own symbols' counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.quantization.batches import batches
from vaecomp_native.quantization.bunch import SMALL, Bunch, joined
from vaecomp_native.quantization.matrix import slabs

Symbols = npt.NDArray[np.signedinteger[Any]]
Levels = npt.NDArray[np.uint8]
Float64Array = npt.NDArray[np.float64]

ROUNDS = 5
MIN_ACTIVITY = 0.02
"""Mean magnitude of the symbols of the quietest table to start from."""
SMOOTHING = 0.02
TINY = 1 << 10
"""Most elements of a matrix that has one level for all."""
MAX_TOGETHER = 1 << 16
"""Elements of small matrices that are looked at together: a table of their costs fits a cache."""


@dataclass(frozen=True)
class ContextLevels:
    """Levels of one matrix: a base level, uint8 [R] for rows and uint8 [C] for columns, or None where all are 0."""

    level: int
    rows: Levels | None
    columns: Levels | None


def fit_contexts(matrices: Sequence[Symbols], tables: int) -> list[ContextLevels]:
    """Fit levels 0 .. tables - 1 for matrices of integers [R, C] that share their tables."""
    fits = _fits(matrices)
    first = min((int(fit.symbols.min(initial=0)) for fit in fits), default=0)
    last = max((int(fit.symbols.max(initial=0)) for fit in fits), default=0)
    frequencies = _starting_tables(fits, tables, first, last)
    for turn in range(ROUNDS if tables > 1 else 0):
        bits = -np.log2(frequencies)
        counts = np.zeros_like(frequencies)
        for fit in fits:
            fit.choose_levels(1, bits, first, priced=turn > 0)
            # What all columns have in common is for the rows to say, so that some can go below it.
            fit.lower_columns()
            fit.choose_levels(0, bits, first, priced=turn > 0)
            counts += fit.table_counts(tables, first, last)
        frequencies = _normalized(counts + SMOOTHING * frequencies)
    found: dict[int, ContextLevels] = {}
    for fit in fits:
        found.update(zip(fit.numbers, fit.compact(), strict=True))
    return [found[number] for number in range(len(matrices))]


def _fits(matrices: Sequence[Symbols]) -> list[_OneMatrix | _SmallMatrices]:
    """Large matrices one by one, and small ones together."""
    kinds: dict[type[_SmallMatrices], dict[int, int]] = {_TinyMatrices: {}, _SmallMatrices: {}}
    fits: list[_OneMatrix | _SmallMatrices] = []
    for number, symbols in enumerate(matrices):
        if 0 < symbols.size <= SMALL:
            kind = _TinyMatrices if symbols.size <= TINY else _SmallMatrices
            kinds[kind][number] = symbols.size
        else:
            fits.append(_OneMatrix(number, symbols))
    for kind, sizes in kinds.items():
        for numbers in batches(sizes, MAX_TOGETHER):
            fits.append(kind(numbers, [matrices[number] for number in numbers]))
    return fits


def _starting_tables(
    fits: Sequence[_OneMatrix | _SmallMatrices], tables: int, first: int, last: int
) -> Float64Array:
    """Two-sided geometric distributions, their mean magnitudes evenly spread on a logarithmic scale."""
    liveliest = max((fit.liveliest() for fit in fits if fit.symbols.size), default=1.0)
    activities = np.geomspace(MIN_ACTIVITY, max(liveliest, 2 * MIN_ACTIVITY), tables)
    distance = np.abs(np.arange(first, last + 1))
    return _normalized(np.exp(-distance * np.log1p(1 / activities)[:, None]))


class _OneMatrix:
    """A matrix and the levels of its rows and columns, which are chosen by turns."""

    def __init__(self, number: int, symbols: Symbols) -> None:
        self.numbers = [number]
        self.symbols = symbols
        self._rows = np.zeros(len(symbols), np.uint8)
        self._columns = np.zeros(symbols.shape[1], np.uint8)

    def liveliest(self) -> float:
        """The mean magnitude of the symbols."""
        return float(np.abs(self.symbols).mean())

    def choose_levels(self, axis: int, bits: Float64Array, first: int, *, priced: bool) -> None:
        """Give each row (axis 0) or column (axis 1) the level that codes its symbols in the fewest bits.

        From the second round on a level's own price counts: rare ones cost more.
        """
        levels = (self._rows, self._columns)[axis]
        tables = len(bits)
        cost = np.zeros((len(levels), tables))
        for part, counts in self._histograms(axis, first, bits.shape[1]):
            for group in range(counts.shape[1]):
                shifted = bits[np.minimum(np.arange(tables) + group, tables - 1)]
                cost[part] += counts[:, group].astype(np.float64) @ shifted.T
        if priced:
            prices = np.bincount(levels, minlength=tables) + 0.5
            cost -= np.log2(prices / prices.sum())
        levels[:] = cost.argmin(1)

    def lower_columns(self) -> None:
        """Bring the lowest column to level 0."""
        self._columns -= self._columns.min(initial=255)

    def table_counts(self, tables: int, first: int, last: int) -> Float64Array:
        """How often each table codes each symbol."""
        total = np.zeros((tables, last - first + 1))
        for rows, counts in self._histograms(0, first, last - first + 1):
            for group in range(counts.shape[1]):
                table = np.minimum(self._rows[rows] + group, tables - 1)
                members = (np.arange(tables)[:, None] == table).astype(np.float64)
                total += members @ counts[:, group].astype(np.float64)
        return total

    def compact(self) -> list[ContextLevels]:
        """The levels, with what all rows or all columns have in common in the base level."""
        low_row, low_column = int(self._rows.min(initial=255)), int(self._columns.min(initial=255))
        rows, columns = self._rows - np.uint8(low_row), self._columns - np.uint8(low_column)
        return [
            ContextLevels(
                low_row + low_column if self.symbols.size else 0,
                rows if rows.any() else None,
                columns if columns.any() else None,
            )
        ]

    def _histograms(
        self, axis: int, first: int, size: int
    ) -> Iterator[tuple[slice, npt.NDArray[np.uint32]]]:
        """Counts [rows, levels of columns, size] of some rows at a time; for axis 1 [columns, levels of rows, size]."""
        others = (self._columns, self._rows)[axis]
        groups = int(others.max(initial=0)) + 1
        # Neither the symbols nor their counts may be large beside a large model.
        for part in slabs((self.symbols.shape[axis], max(len(others), groups * size))):
            symbols = self.symbols[part] if axis == 0 else self.symbols[:, part]
            wide = np.ascontiguousarray(symbols, np.int32)
            yield part, _core.symbol_histograms(wide, others, axis == 1, groups, first, size)


class _SmallMatrices:
    """The same for small matrices, one behind another, element by element instead of by histograms."""

    def __init__(self, numbers: Sequence[int], matrices: Sequence[Symbols]) -> None:
        self.numbers = numbers
        self._bunch = bunch = Bunch([one.shape for one in matrices])
        self.symbols = joined(matrices, np.int32)
        self._rows = np.zeros(len(bunch.matrix_of_row), np.uint8)
        self._columns = np.zeros(len(bunch.matrix_of_column), np.uint8)

    def liveliest(self) -> float:
        """The mean magnitude of the symbols of the liveliest matrix."""
        total = np.add.reduceat(np.abs(self.symbols), self._bunch.starts)
        return float((total / self._bunch.sizes).max())

    def choose_levels(self, axis: int, bits: Float64Array, first: int, *, priced: bool) -> None:
        """Give each row or column of each matrix the level that codes its symbols in the fewest bits."""
        bunch, tables = self._bunch, len(bits)
        levels, others = (self._rows, self._columns)[axis], (self._columns, self._rows)[axis]
        other = others[bunch.column if axis == 0 else bunch.row].astype(np.int64)
        # The row of symbol q under a shift of g has the bits that q costs under each table.
        shifts = np.minimum(
            np.arange(int(others.max()) + 1)[:, None] + np.arange(tables), tables - 1
        )
        costs = bits[shifts].transpose(0, 2, 1).reshape(-1, tables)
        at = other * bits.shape[1] + self.symbols - first
        if axis == 0:
            cost = np.add.reduceat(costs[at], bunch.row_starts, axis=0)
        else:
            cost = np.add.reduceat(costs[at[bunch.by_column]], bunch.column_starts, axis=0)
        if priced:
            matrix = bunch.matrix_of_row if axis == 0 else bunch.matrix_of_column
            counts = np.bincount(matrix * tables + levels, minlength=len(bunch.sizes) * tables)
            prices = counts.reshape(-1, tables) + 0.5
            cost -= np.log2(prices / prices.sum(1, keepdims=True))[matrix]
        levels[:] = cost.argmin(1)

    def lower_columns(self) -> None:
        """Bring the lowest column of each matrix to level 0."""
        lowest = np.minimum.reduceat(self._columns, self._bunch.first_columns)
        self._columns -= lowest[self._bunch.matrix_of_column]

    def table_counts(self, tables: int, first: int, last: int) -> Float64Array:
        """How often each table codes each symbol."""
        width = last - first + 1
        level = self._rows[self._bunch.row].astype(np.int64) + self._columns[self._bunch.column]
        at = np.minimum(level, tables - 1) * width + self.symbols - first
        counts = np.bincount(at, minlength=tables * width)
        return counts.reshape(tables, width).astype(np.float64)

    def compact(self) -> list[ContextLevels]:
        """The levels of each matrix, with what its rows or columns have in common in the base level."""
        bunch = self._bunch
        low_rows, rows = _lowered(self._rows, bunch.first_rows, bunch.rows)
        low_columns, columns = _lowered(self._columns, bunch.first_columns, bunch.columns)
        levels = (low_rows + low_columns).tolist()
        return list(map(ContextLevels, levels, rows, columns))


class _TinyMatrices(_SmallMatrices):
    """Matrices so small that levels of rows and columns would cost more than they save."""

    def __init__(self, numbers: Sequence[int], matrices: Sequence[Symbols]) -> None:
        super().__init__(numbers, [one.reshape(1, -1) for one in matrices])

    def choose_levels(self, axis: int, bits: Float64Array, first: int, *, priced: bool) -> None:
        """Give each matrix a level, which is there in any case."""
        if axis == 0:
            super().choose_levels(axis, bits, first, priced=False)


def _lowered(
    levels: Levels, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], list[Levels | None]]:
    """The lowest level of each run, and each run above it, or None where it is level."""
    lowest = np.minimum.reduceat(levels, starts)
    above = levels - np.repeat(lowest, lengths)
    differs = np.logical_or.reduceat(above != 0, starts).tolist()
    ends = (starts + lengths).tolist()
    runs = [
        above[start:end] if one else None
        for start, end, one in zip(starts.tolist(), ends, differs, strict=True)
    ]
    return lowest.astype(np.int64), runs


def _normalized(counts: Float64Array) -> Float64Array:
    safe = np.maximum(counts, 1e-9)
    normalized: Float64Array = safe / safe.sum(1, keepdims=True)
    return normalized
