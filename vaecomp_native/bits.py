"""Comparison of arrays bit for bit: 0.0 differs from -0.0, and a NaN equals only the same NaN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def identical(one: Array, other: Array) -> bool:
    """Whether two arrays have the same dtype, shape and bytes."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return np.array_equal(_bytes(one), _bytes(other))


def all_identical(ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> bool:
    """Whether two mappings hold the same names in the same order, with identical arrays."""
    return list(ours) == list(theirs) and all(
        identical(array, theirs[name]) for name, array in ours.items()
    )


def _bytes(array: Array) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
