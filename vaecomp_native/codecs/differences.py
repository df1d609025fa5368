"""Floats bit for bit, as differences from predictions (format.md, Differences).

A difference's length says how far a weight moved, in steps of the last place of its prediction. The
likely length follows from the prediction's exponent, and from how far the other weights of its row
and of its column moved.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.quantization.matrix import matrix_shape, slabs

Array = npt.NDArray[Any]
Float64Array = npt.NDArray[np.float64]
Levels = npt.NDArray[np.uint8]

_FIELDS = {"float16": (10, 5), "bfloat16": (7, 8), "float32": (23, 8), "float64": (52, 11)}
"""The bits of mantissa and exponent, by dtype."""
DETAILS = (0, 1)
"""The numbers of bits below a difference's leading one that its symbol may hold; all are tried.

More bits need larger tables.
"""
FEW_SYMBOLS = 1 << 21
"""The number of symbols above which only the last of the details is tried: it wins there."""
MIN_OTHERS = 8
"""The minimum elements behind each level of an axis: with fewer the axis has no levels."""
FLOOR = 2.0**-8
"""The smallest change, relative to the mean change. A smaller one counts as this."""
RARE, RARE_SHARE = 1 << 12, 1 / 16
"""The maximum elements of the highest contexts that share a table, and their maximum share."""
MAX_TABLES, MAX_LEVEL = 256, 255


@dataclass(frozen=True)
class _Fit:
    """A tensor as a matrix [R, C], its prediction, and the levels that choose its tables.

    `level` does not include the section's offset.
    """

    values: Array
    predicted: Array
    level: int
    rows: Levels | None
    columns: Levels | None

    def contexts(self) -> Iterator[npt.NDArray[np.int64]]:
        """Yield contexts, before the offset, of elements that may change, some rows at a time."""
        count, width = self.values.shape
        alive = np.ones(width, bool) if self.columns is None else self.columns != 0
        columns = _along(self.columns, width)[alive]
        rows = _along(self.rows, count)
        for part in slabs(self.values.shape):
            level = (self.level + rows[part, None] + columns) // 2
            contexts = level - _exponents(self.predicted[part])[:, alive]
            yield contexts if self.rows is None else contexts[rows[part] != 0]

    def encoded(self, offset: int) -> tuple[Any, ...]:
        """The arguments of the native encoder."""
        return self.values, self.predicted, self.level - 2 * offset, self.rows, self.columns


def has_differences(dtype: np.dtype[Any]) -> bool:
    """Whether the format codes differences of a dtype."""
    return _core.dtype_name(dtype) in _FIELDS


def units_in_last_place(array: Array) -> Float64Array:
    """The distance of each float to its neighbours. The dtype must have differences."""
    mantissa, _ = _FIELDS[_core.dtype_name(array.dtype)]
    exponents = np.maximum(_exponents(array), 1) - _bias(array.dtype) - mantissa
    units: Float64Array = np.ldexp(1.0, exponents)
    return units


def encode_differences(
    arrays: Mapping[str, Array], predicted: Mapping[str, Array], base: int = 0
) -> bytes:
    """Encode arrays into a section of differences.

    Arrays and their predictions have equal shapes and a dtype that has differences. `base` is 0 if
    the predictions are the pack's tensors. Otherwise a member section makes them, and `base` is 1
    plus its index.
    """
    fits = [_fit(_matrix(array), _matrix(predicted[name])) for name, array in arrays.items()]
    offset, tables = _range(fits)
    rows = [fit.encoded(offset) for fit in fits]
    many = sum(array.size for array in arrays.values()) > FEW_SYMBOLS
    details = DETAILS[-1:] if many else DETAILS
    return min(
        (_core.encode_differences(base, detail, rows, tables) for detail in details), key=len
    )


def _matrix(array: Array) -> Array:
    """The array as a matrix in the host's byte order."""
    native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    return native.reshape(matrix_shape(array.shape))


def _fit(values: Array, predicted: Array) -> _Fit:
    """Fit levels in half octaves: their sum is the mean logarithm of a weight's change."""
    rows, columns = _mean_changes(values, predicted)
    alive_rows, alive_columns = np.isfinite(rows), np.isfinite(columns)
    if not alive_rows.any():
        return _Fit(values, predicted, 0, None, None)
    mean = float(columns[alive_columns].mean())
    level = 2 * _bias(values.dtype)
    row_levels = column_levels = None
    if len(rows) > 1 and len(columns) >= MIN_OTHERS:
        lowest, row_levels = _levels(rows)
        level += lowest
    else:
        level += round(2 * mean)
    if len(rows) >= MIN_OTHERS:
        lowest, column_levels = _levels(columns - mean)
        level += lowest
    return _Fit(values, predicted, level, row_levels, column_levels)


def _mean_changes(values: Array, predicted: Array) -> tuple[Float64Array, Float64Array]:
    """Mean binary logarithms of changes, by row [R] and column [C]; -inf where nothing changes."""
    alive_rows = np.zeros(len(values), bool)
    alive_columns = np.zeros(values.shape[1], bool)
    total = changed = 0.0
    for part, change in _changes(values, predicted):
        alive_rows[part] = change.any(1)
        alive_columns |= change.any(0)
        total += float(change.sum())
        changed += float(np.count_nonzero(change))
    floor = FLOOR * total / max(changed, 1)
    rows, columns = np.zeros(len(values)), np.zeros(values.shape[1])
    for part, change in _changes(values, predicted):
        logarithms = np.log2(np.maximum(change, floor, out=change), where=floor > 0, out=change)
        rows[part] = logarithms[:, alive_columns].mean(1) if alive_columns.any() else 0
        columns += logarithms[alive_rows[part]].sum(0)
    columns = columns / max(int(np.count_nonzero(alive_rows)), 1)
    return np.where(alive_rows, rows, -np.inf), np.where(alive_columns, columns, -np.inf)


def _changes(values: Array, predicted: Array) -> Iterator[tuple[slice, Float64Array]]:
    """Yield magnitudes of differences, some rows at a time; 0 where they are not finite."""
    for part in slabs(values.shape):
        with np.errstate(all="ignore"):
            change = np.abs(values[part].astype(np.float64) - predicted[part].astype(np.float64))
        yield part, np.nan_to_num(change, copy=False, nan=0, posinf=0)


def _levels(means: Float64Array) -> tuple[int, Levels]:
    """The number to add to levels, and levels in half octaves: from 1, 0 where nothing changes."""
    alive = np.isfinite(means)
    halves = np.rint(2 * np.where(alive, means, means[alive].min())).astype(np.int64)
    lowest = max(int(halves.min()), int(halves.max()) - MAX_LEVEL + 1) - 1
    return lowest, np.where(alive, np.maximum(halves - lowest, 1), 0).astype(np.uint8)


def _range(fits: list[_Fit]) -> tuple[int, int]:
    """The offset that brings the lowest context to 1, and the number of tables."""
    counts: dict[int, int] = {}
    for contexts in itertools.chain.from_iterable(fit.contexts() for fit in fits):
        for context, count in zip(*np.unique(contexts, return_counts=True), strict=True):
            counts[int(context)] = counts.get(int(context), 0) + int(count)
    if not counts:
        return 0, 1
    rare = min(RARE, RARE_SHARE * sum(counts.values()))
    last = max(counts)
    while rare > counts.get(last, 0) and last > min(counts):
        rare -= counts.get(last, 0)
        last -= 1
    first = max(min(counts), last - MAX_TABLES + 2)
    return first - 1, last - first + 2


def _along(levels: Levels | None, length: int) -> npt.NDArray[np.int64]:
    return np.zeros(length, np.int64) if levels is None else levels.astype(np.int64)


def _exponents(array: Array) -> npt.NDArray[np.int64]:
    """The exponent fields of floats."""
    mantissa, exponent = _FIELDS[_core.dtype_name(array.dtype)]
    bits = array.view(f"u{array.dtype.itemsize}").astype(np.uint64) >> np.uint64(mantissa)
    fields: npt.NDArray[np.int64] = bits.astype(np.int64) & ((1 << exponent) - 1)
    return fields


def _bias(dtype: np.dtype[Any]) -> int:
    return (1 << (_FIELDS[_core.dtype_name(dtype)][1] - 1)) - 1
