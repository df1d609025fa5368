"""Other lossless codecs, as pairs of functions that compress and decompress bytes.

They are in experiments/requirements.txt.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import zstandard
from zipnn import ZipNN

Pair = tuple[Callable[[bytes], Any], Callable[[Any], Any]]


def zipnn(dtype: str, threads: int = 1) -> Pair:
    """zipnn, which is told the dtype."""

    def codec() -> ZipNN:
        return ZipNN(input_format="byte", bytearray_dtype=dtype, threads=threads)

    # It changes what it compresses.
    return lambda raw: codec().compress(bytearray(raw)), lambda packed: codec().decompress(packed)


def zstd(level: int) -> Pair:
    """zstd at a level."""
    return partial(zstandard.compress, level=level), zstandard.decompress
