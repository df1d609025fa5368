"""Scratch space for arrays when the model itself fills most of the memory."""

from __future__ import annotations

import os
import tempfile
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

ROOM = 1 << 30
"""The number of bytes of arrays that stay in memory; further arrays go to temporary files."""


class Scratch:
    """A source of arrays: in memory until `ROOM` is used up, then mapped from temporary files.

    The files have no names, so that they vanish with their arrays, whatever happens. The room of an
    array in memory is given back in the same way. Python's `tempfile` chooses the files' directory
    (TMPDIR).
    """

    def __init__(self) -> None:
        self._room = ROOM

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Make an array with undefined contents. Raises OSError if the disk is full."""
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if size <= self._room:
            array: Array = np.empty(shape, dtype)
            self._take(size)
            weakref.finalize(array, self._take, -size)
            return array
        with tempfile.TemporaryFile(prefix="vaecomp-") as file:
            if hasattr(os, "posix_fallocate"):
                # The blocks are reserved now. Otherwise a write to a full disk would kill the
                # process.
                os.posix_fallocate(file.fileno(), 0, size)
            mapped: Array = np.asarray(np.memmap(file, np.uint8, "w+", shape=(size,)))
        return mapped.view(dtype).reshape(shape)

    def _take(self, size: int) -> None:
        self._room -= size

    def copy(self, array: Array) -> Array:
        """Copy an array to memory of its own. Raises OSError if the disk is full."""
        result = self.empty(array.shape, array.dtype)
        result[...] = array
        return result
