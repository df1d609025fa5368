"""Original weights, kept while the module that they came from holds decoded ones."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SPILL_BYTES = 1 << 30
"""Weights of more bytes than this are kept in a temporary file, so that a model need not fit in memory twice."""


@contextmanager
def kept_apart(arrays: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    """Copies of arrays that share no memory with them: in memory, or mapped from a temporary file if they are large."""
    if sum(array.nbytes for array in arrays.values()) <= SPILL_BYTES:
        yield {name: array.copy() for name, array in arrays.items()}
        return
    with tempfile.TemporaryDirectory(prefix="vaecomp-") as directory:
        yield {
            name: _spill(array, Path(directory) / str(number))
            for number, (name, array) in enumerate(arrays.items())
        }


def _spill(array: Array, path: Path) -> Array:
    contiguous = np.ascontiguousarray(array)
    contiguous.view(np.uint8).tofile(path)
    # Torch warns about arrays that it could not write to; what is written stays in memory.
    mapped: Array = np.memmap(path, np.uint8, "c").view(array.dtype).reshape(array.shape)
    return mapped
