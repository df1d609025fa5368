"""Finds the tensors that lossy codecs may change, and the reasons why others stay exact."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.quantization.batches import batches
from vaecomp_native.quantization.matrix import LARGEST_SYMBOL, SLAB_ELEMENTS
from vaecomp_native.state_dict import LATENT_DTYPES

Array = npt.NDArray[Any]
LARGEST_VALUE = 1e15
"""The largest value for lossy codecs: squares and their reciprocals must fit in float32."""
FLOAT16_LIMIT = 32_752.0
"""The same for float16: decoded values may be larger than the original ones, yet finite."""
COMMON_SHARE = 0.99
"""The share of a tensor's values that its outliers are compared with."""
TYPICAL_LARGEST = 4.0
"""A limit on most values, in units of their root mean square."""
NOT_FINITE = "NaN or infinite values"
OUTLIERS = "outliers"
OUT_OF_RANGE = "values out of range"
SPECIAL_VALUES = (NOT_FINITE, OUTLIERS, OUT_OF_RANGE)
"""The reasons that lie in a float tensor's values. Its owner is warned of them."""
KINDS = {"b": "boolean", "i": "integer", "u": "integer", "c": "complex"}


class Extent(NamedTuple):
    """The minimum and maximum of a tensor's values, and the mean of their squares."""

    low: float
    high: float
    mean_square: float

    @property
    def largest(self) -> float:
        """The largest magnitude; NaN if a value is NaN."""
        return max(self.high, -self.low) if self.low <= self.high else math.nan


def why_exact(arrays: Mapping[str, Array]) -> dict[str, str]:
    """Find the tensors that no lossy codec may change, and why: their dtypes or their values."""
    reasons = {name: _why_not_float(array) for name, array in arrays.items()}
    floats = {name: array for name, array in arrays.items() if reasons[name] is None}
    for name, extent in extents(floats).items():
        reasons[name] = _special(floats[name], extent)
    return {name: reason for name, reason in reasons.items() if reason is not None}


def delicacies(arrays: Mapping[str, Array]) -> dict[str, str]:
    """Find the tensors that gain nothing from a lossy codec or suffer from any error, and why.

    Scalars and empty tensors gain nothing, nor do vectors of one value. Vectors of one sign may be
    gains and variances of normalization layers, which must not change their sign.
    """
    found = {
        name: "empty" if array.size == 0 else "one value"
        for name, array in arrays.items()
        if array.size <= 1
    }
    vectors = {n: array for n, array in arrays.items() if array.ndim == 1 and array.size > 1}
    for name, (low, high, _) in extents(vectors).items():
        if low == high:
            found[name] = "one value"
        elif low > 0 or high < 0:
            found[name] = "one sign"
    return found


def is_delicate(array: Array) -> bool:
    """Whether `delicacies` finds this tensor."""
    return bool(delicacies({"": array}))


def extents(arrays: Mapping[str, Array]) -> dict[str, Extent]:
    """Measure the extents of tensors of real numbers, none of them empty."""
    found: dict[str, Extent] = {}
    with np.errstate(all="ignore"):
        for names in batches({name: array.size for name, array in arrays.items()}):
            parts = [arrays[name] for name in names]
            for name, extent in zip(names, _extents(parts), strict=True):
                found[name] = extent
    return found


def _extents(arrays: Sequence[Array]) -> Iterator[Extent]:
    if len(arrays) == 1:
        yield _extent(arrays[0])
        return
    values = np.concatenate([array.ravel() for array in arrays], dtype=np.float64, casting="unsafe")
    sizes = np.array([array.size for array in arrays])
    starts = np.cumsum(sizes) - sizes
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    squares = np.add.reduceat(np.square(values, out=values), starts) / sizes
    yield from map(Extent, low.tolist(), high.tolist(), squares.tolist())


def _extent(array: Array) -> Extent:
    low, high, total = math.inf, -math.inf, 0.0
    for values in _slabs(array):
        # A NaN stays, whichever slab it is in.
        low = float(np.minimum(low, values.min()))
        high = float(np.maximum(high, values.max()))
        total += _square(values)
    return Extent(low, high, total / array.size)


def _clipped_square(array: Array, limit: float) -> float:
    """The mean square of values whose magnitudes are cut at a limit."""
    return sum(_square(np.clip(one, -limit, limit)) for one in _slabs(array)) / array.size


def _slabs(array: Array) -> Iterator[Array]:
    """Yield all elements, some at a time, in a dtype that NumPy is quick with."""
    dtype = np.float64 if array.dtype.itemsize > 4 else np.float32
    flat = array.reshape(-1)
    for start in range(0, flat.size, SLAB_ELEMENTS):
        yield flat[start : start + SLAB_ELEMENTS].astype(dtype, copy=False)


def _square(values: Array) -> float:
    return float(np.einsum("i,i->", values, values, dtype=np.float64))


def _why_not_float(array: Array) -> str | None:
    name = _core.dtype_name(array.dtype)
    if name not in LATENT_DTYPES:
        return KINDS.get(array.dtype.kind) or name
    return "empty" if array.size == 0 else None


def _special(array: Array, extent: Extent) -> str | None:
    """Why lossy codecs cannot take a float tensor's values; None if they can."""
    largest = extent.largest
    if not math.isfinite(largest):
        return NOT_FINITE
    limit = FLOAT16_LIMIT if array.dtype == np.float16 else LARGEST_VALUE
    if largest > limit or 0 < largest < 1 / LARGEST_VALUE:
        return OUT_OF_RANGE
    return OUTLIERS if _has_outliers(array, extent) else None


def _has_outliers(array: Array, extent: Extent) -> bool:
    """Whether steps that reach the largest value would make the others zeros.

    The others are all but the largest hundredth, and that is at least one value. Nothing is lost
    where they are zeros anyway.
    """
    largest = extent.largest
    count = min(math.ceil(COMMON_SHARE * array.size), array.size - 1)
    if count == 0:
        return False
    # Nearly always one of two bounds is enough, and nothing need be sorted: none of the largest
    # hundredth adds more to the squares than a limit on all values, even one below some of them.
    share = 1 - count / array.size
    for limit in (largest, TYPICAL_LARGEST * math.sqrt(extent.mean_square)):
        square = extent.mean_square if limit == largest else _clipped_square(array, limit)
        min_square = square - share * limit**2
        if min_square > 0 and largest <= LARGEST_SYMBOL * math.sqrt(min_square):
            return False
    magnitudes = np.abs(array.ravel().astype(np.float64))
    others = np.partition(magnitudes, count - 1)[:count]
    return largest > LARGEST_SYMBOL * math.sqrt(float(np.square(others).mean())) > 0
