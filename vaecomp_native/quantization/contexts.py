"""Context levels: which of a few shared frequency tables codes a symbol.

The table of element (i, j) of a matrix is level + row_levels[i] + column_levels[j]. Tables go from
quiet (nearly all zeros) to lively, and levels say how lively rows and columns are. Levels and
tables are fitted by turns, as in k-means: each row takes the cheapest level, then each table the
counts of the symbols that it codes (docs/quantization.md, Context levels).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native import _core

Symbols = npt.NDArray[np.signedinteger[Any]]
Levels = npt.NDArray[np.uint8]
Float64Array = npt.NDArray[np.float64]

ROUNDS = 5
"""The number of turns. One table takes two, so that the second one counts with its frequencies."""
COST_UNIT = 256
"""The kernel's costs that make a bit."""
MIN_ACTIVITY = 0.02
"""The mean magnitude of the symbols of the quietest table at the start."""


@dataclass(frozen=True)
class ContextLevels:
    """Levels of one matrix: a base level, uint8 [R] for rows and uint8 [C] for columns.

    None stands for rows or columns that are all 0.
    """

    level: int
    rows: Levels | None
    columns: Levels | None


@dataclass(frozen=True)
class ContextFit:
    """The result of a fit.

    `levels` are those of each matrix, and `bits` about what its symbols take, float64 [matrices].
    `counts` say how often each table codes each symbol, uint64 [tables, N].
    """

    levels: Sequence[ContextLevels]
    bits: Float64Array
    counts: npt.NDArray[np.uint64]


def fit_contexts(matrices: Sequence[Symbols], tables: int, threads: int = 0) -> ContextFit:
    """Fit levels for matrices of int8 or int16 [R, C] that share `tables` tables, at most 16."""
    first, last, liveliest = _core.symbol_extent(matrices)
    start = _starting_tables(tables, first, last, liveliest)
    rounds = ROUNDS if tables > 1 else 2
    levels, costs, counts = _core.fit_contexts(matrices, start, first, rounds, threads)
    return ContextFit([ContextLevels(*one) for one in levels], costs / COST_UNIT, counts)


def _starting_tables(tables: int, first: int, last: int, liveliest: float) -> Float64Array:
    """Two-sided geometric distributions whose mean magnitudes form a geometric sequence.

    The result holds frequencies [tables, N] of the symbols from `first` to `last`.
    """
    activities = np.geomspace(MIN_ACTIVITY, max(liveliest, 2 * MIN_ACTIVITY), tables)
    distance = np.abs(np.arange(first, last + 1))
    frequencies = np.exp(-distance * np.log1p(1 / activities)[:, None])
    starting: Float64Array = frequencies / frequencies.sum(1, keepdims=True)
    return starting
