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
from vaecomp_native.quantisation.matrix import slabs

Symbols = npt.NDArray[np.signedinteger[Any]]
Levels = npt.NDArray[np.uint8]
Float64Array = npt.NDArray[np.float64]

ROUNDS = 5
LEAST_ACTIVITY = 0.02
"""Mean magnitude of the symbols of the quietest table to start from."""
SMOOTHING = 0.02


@dataclass(frozen=True)
class ContextLevels:
    """Levels of one matrix: a base level, uint8 [R] for rows and uint8 [C] for columns, or None where all are 0."""

    level: int
    rows: Levels | None
    columns: Levels | None


@dataclass
class _Fit:
    symbols: Symbols
    rows: Levels
    columns: Levels


def fit_contexts(matrices: Sequence[Symbols], tables: int) -> list[ContextLevels]:
    """Fit levels 0 .. tables - 1 for matrices of integers [R, C] that share their tables."""
    fits = [
        _Fit(symbols, np.zeros(len(symbols), np.uint8), np.zeros(symbols.shape[1], np.uint8))
        for symbols in matrices
    ]
    first = min((int(fit.symbols.min(initial=0)) for fit in fits), default=0)
    last = max((int(fit.symbols.max(initial=0)) for fit in fits), default=0)
    frequencies = _starting_tables(fits, tables, first, last)
    for turn in range(ROUNDS if tables > 1 else 0):
        bits = -np.log2(frequencies)
        counts = np.zeros_like(frequencies)
        for fit in fits:
            _choose_levels(fit, 1, bits, first, priced=turn > 0)
            # What all columns have in common is for the rows to say, so that some can go below it.
            fit.columns -= fit.columns.min(initial=255)
            _choose_levels(fit, 0, bits, first, priced=turn > 0)
            counts += _table_counts(fit, tables, first, last)
        frequencies = _normalised(counts + SMOOTHING * frequencies)
    return _compact(fits)


def _starting_tables(fits: Sequence[_Fit], tables: int, first: int, last: int) -> Float64Array:
    """Two-sided geometric distributions, their mean magnitudes evenly spread on a logarithmic scale."""
    liveliest = max(
        (float(np.abs(fit.symbols).mean()) for fit in fits if fit.symbols.size), default=1
    )
    activities = np.geomspace(LEAST_ACTIVITY, max(liveliest, 2 * LEAST_ACTIVITY), tables)
    distance = np.abs(np.arange(first, last + 1))
    return _normalised(np.exp(-distance * np.log1p(1 / activities)[:, None]))


def _choose_levels(fit: _Fit, axis: int, bits: Float64Array, first: int, *, priced: bool) -> None:
    """Give each row (axis 0) or column (axis 1) the level that codes its symbols in the fewest bits.

    From the second round on a level's own price counts: rare ones cost more.
    """
    levels = (fit.rows, fit.columns)[axis]
    tables = len(bits)
    cost = np.zeros((len(levels), tables))
    for part, counts in _histograms(fit, axis, first, bits.shape[1]):
        for group in range(counts.shape[1]):
            shifted = bits[np.minimum(np.arange(tables) + group, tables - 1)]
            cost[part] += counts[:, group].astype(np.float64) @ shifted.T
    if priced:
        prices = np.bincount(levels, minlength=tables) + 0.5
        cost -= np.log2(prices / prices.sum())
    levels[:] = cost.argmin(1)


def _table_counts(fit: _Fit, tables: int, first: int, last: int) -> Float64Array:
    """How often each table codes each symbol."""
    total = np.zeros((tables, last - first + 1))
    for rows, counts in _histograms(fit, 0, first, last - first + 1):
        for group in range(counts.shape[1]):
            table = np.minimum(fit.rows[rows] + group, tables - 1)
            members = (np.arange(tables)[:, None] == table).astype(np.float64)
            total += members @ counts[:, group].astype(np.float64)
    return total


def _histograms(
    fit: _Fit, axis: int, first: int, size: int
) -> Iterator[tuple[slice, npt.NDArray[np.uint32]]]:
    """Counts [rows, levels of columns, size] of some rows at a time; for axis 1 [columns, levels of rows, size]."""
    others = (fit.columns, fit.rows)[axis]
    groups = int(others.max(initial=0)) + 1
    # Neither the symbols nor their counts may be large beside a large model.
    for part in slabs((fit.symbols.shape[axis], max(len(others), groups * size))):
        symbols = fit.symbols[part] if axis == 0 else fit.symbols[:, part]
        wide = np.ascontiguousarray(symbols, np.int32)
        yield part, _core.symbol_histograms(wide, others, axis == 1, groups, first, size)


def _normalised(counts: Float64Array) -> Float64Array:
    safe = np.maximum(counts, 1e-9)
    normalised: Float64Array = safe / safe.sum(1, keepdims=True)
    return normalised


def _compact(fits: Sequence[_Fit]) -> list[ContextLevels]:
    """Take what all rows or all columns have in common into the base level."""
    contexts = []
    for fit in fits:
        low_row, low_column = int(fit.rows.min(initial=255)), int(fit.columns.min(initial=255))
        rows, columns = fit.rows - np.uint8(low_row), fit.columns - np.uint8(low_column)
        contexts.append(
            ContextLevels(
                low_row + low_column if fit.symbols.size else 0,
                rows if rows.any() else None,
                columns if columns.any() else None,
            )
        )
    return contexts
