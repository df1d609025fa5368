"""Chooses where frequency tables change: a table costs bytes, a wrong one costs bits."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


def choose_segments(symbols: npt.NDArray[np.int8]) -> list[int]:
    """Cut the columns of int8 symbols `[rows, columns]` into runs with a frequency table each.

    It starts from one run a column, and merges the two neighbours whose union saves the most, as
    long as that makes the stream smaller. Returns the runs' lengths in symbols, which add up to
    `symbols.size`.
    """
    rows, columns = symbols.shape
    runs = [_histogram(symbols[:, column]) for column in range(columns)]
    costs = [_bits(run) for run in runs]
    lengths = [rows] * columns
    merged = [_bits(a + b) for a, b in pairwise(runs)]
    while merged:
        gains = np.array(costs[:-1]) + np.array(costs[1:]) - np.array(merged)
        at = int(np.argmax(gains))
        if gains[at] < 0:
            break
        runs[at : at + 2] = [runs[at] + runs[at + 1]]
        costs[at : at + 2] = [merged[at]]
        lengths[at : at + 2] = [lengths[at] + lengths[at + 1]]
        neighbours = range(max(at - 1, 0), min(at + 1, len(runs) - 1))
        merged[max(at - 1, 0) : at + 2] = [_bits(runs[i] + runs[i + 1]) for i in neighbours]
    return lengths


def _histogram(column: npt.NDArray[np.int8]) -> IntArray:
    return np.bincount(column.astype(np.int64) + 128, minlength=256)


def _bits(counts: npt.NDArray[Any]) -> float:
    """Bits of the symbols under their own frequencies, and of the table.

    The table takes a byte for each value, and two where it is frequent.
    """
    present = np.flatnonzero(counts)
    frequencies = counts[present] / counts.sum()
    span = present[-1] - present[0] + 1
    table = 8 * (4 + span + np.count_nonzero(frequencies >= 1 / 32))
    return float(table - (counts[present] * np.log2(frequencies)).sum())
