"""Room for arrays beside a model that fills most of the memory."""

from __future__ import annotations

import os
import tempfile
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

ROOM = 1 << 30
"""Bytes of arrays that stay in memory; what comes after them goes to temporary files."""


class Scratch:
    """Gives arrays in memory until `ROOM` is used up, then such that are mapped from temporary files.

    The files have no names: they go away with their arrays, whatever happens, as memory becomes room again. They lie where Python's
    `tempfile` puts them (TMPDIR).
    """

    def __init__(self) -> None:
        self._room = ROOM

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """An array with nothing in it yet. Raises OSError if the disk is full."""
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if size <= self._room:
            array: Array = np.empty(shape, dtype)
            self._take(size)
            weakref.finalize(array, self._take, -size)
            return array
        with tempfile.TemporaryFile(prefix="vaecomp-") as file:
            if hasattr(os, "posix_fallocate"):
                # Without its blocks reserved, a full disk would kill the process at the first write.
                os.posix_fallocate(file.fileno(), 0, size)
            mapped: Array = np.asarray(np.memmap(file, np.uint8, "w+", shape=(size,)))
        return mapped.view(dtype).reshape(shape)

    def _take(self, size: int) -> None:
        self._room -= size

    def copy(self, array: Array) -> Array:
        """A copy that shares no memory with `array`."""
        result = self.empty(array.shape, array.dtype)
        result[...] = array
        return result
