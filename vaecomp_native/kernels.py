"""The native kernels with types.

docs/kernels.md gives their exact arithmetic, and `reference` does the same in NumPy. All functions
release the GIL. `threads` is the number of threads that may work; 0 takes all cores that this
process may use. The number of threads never changes a result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native import _core

Array = npt.NDArray[Any]
Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
Buffer = bytes | bytearray | memoryview


def available_isas() -> list[str]:
    """Return the names of the instruction sets that this processor can run, the plainest first."""
    return _core.available_isas()


def isa() -> str:
    """Return the name of the instruction set in use.

    It is the fastest one unless the environment variable `VAECOMP_ISA` or `use_isa` names another.
    """
    return _core.isa()


@contextmanager
def use_isa(name: str) -> Iterator[None]:
    """Use the kernels of one instruction set inside a `with` block, in the whole process.

    Raises ValueError for a name that is not in `available_isas()`.
    """
    before = _core.isa()
    _core.set_isa(name)
    try:
        yield
    finally:
        _core.set_isa(before)


def flatten_chunk(
    tensors: Sequence[Array],
    chunk_length: int = 2048,
    *,
    out: Float32Array | None = None,
    threads: int = 0,
) -> tuple[Float32Array, int]:
    """Flatten tensors one behind another into zero-padded chunks (kernels.md, 1).

    The tensors have real float dtypes and any shape, strides and byte order. Returns the chunks,
    float32 `[K, chunk_length]`, and the number of padding zeros at the end of the last one. The
    chunks are written to `out` if it is given, a C-contiguous float32 array of that shape. Raises
    ValueError for other dtypes, a chunk length below 1 or an `out` of another shape.
    """
    return _core.flatten_chunk(tensors, chunk_length, out, threads)


def unchunk(
    chunks: Float32Array,
    specs: Sequence[tuple[tuple[int, ...], npt.DTypeLike]],
    *,
    out: Sequence[Array] | None = None,
    threads: int = 0,
) -> list[Array]:
    """Undo `flatten_chunk`: cut chunks, float32 `[K, C]`, into arrays.

    `specs` gives the arrays' shapes and dtypes. The arrays are new, or those of `out`, which are
    C-contiguous and have these shapes and dtypes. Raises ValueError if the chunks hold too few
    elements, a dtype is not a real float or `out` does not fit.
    """
    return _core.unchunk(chunks, [(tuple(s), np.dtype(d)) for s, d in specs], out, threads)


def noise_variants(
    base: Float32Array,
    count: int,
    *,
    probability: float,
    sigma: float,
    seed: int,
    first_variant: int = 0,
    first_index: int = 0,
    out: Float32Array | None = None,
    threads: int = 0,
) -> Float32Array:
    """Make variants of a parameter vector with Gaussian noise at random positions (kernels.md, 2).

    `base` is float32 `[n]`. The result is float32 `[count, n]`, written to `out` if it is given.
    Each position gets noise with the given probability. The noise has the standard deviation
    `sigma`, in units of the weights. Element (v, i) depends only on (seed, first_variant + v,
    first_index + i), so that parts can be made apart (Philox4x32-7, Salmon et al. 2011). Raises
    ValueError for a probability outside 0 to 1, a sigma that is not finite or above 2^120, variants
    or indices beyond 2^64, and an `out` that is not C-contiguous float32 of that shape.
    """
    return _core.noise_variants(
        base, count, probability, sigma, seed, first_variant, first_index, out, threads
    )


def encode_symbols(symbols: Int32Array, segments: Sequence[int], *, lanes: int = 0) -> bytes:
    """Entropy-code int32 symbols `[n]` as one symbol stream (rANS; kernels.md, 5; format.md).

    `segments` are the lengths of consecutive parts; each part has a frequency table of its own.
    `lanes` is 1, 2, 4, 8, 16, 32 or 64, or 0 for a choice by size. Raises ValueError if a segment's
    symbols span more than 4,096 values.
    """
    return _core.encode_symbols(symbols, segments, lanes)


def decode_symbols(data: Buffer, *, out: Int32Array | None = None, threads: int = 0) -> Int32Array:
    """Decode a symbol stream to int32 `[n]`, into `out` if it is given.

    Raises ArchiveError if the bytes are not a symbol stream, and ValueError for an `out` that is
    not contiguous int32 of that size.
    """
    return _core.decode_symbols(data, threads, out)


def crc32c(data: Buffer) -> int:
    """Compute the CRC-32C (Castagnoli) of contiguous bytes."""
    return _core.crc32c(data)


def digest(array: Array, *, threads: int = 0) -> int:
    """Compute the 64-bit digest that archives store (kernels.md, 6).

    The array is C-contiguous and in native byte order.
    """
    return digests([array], threads=threads)[0]


def digests(arrays: Sequence[Array], *, threads: int = 0) -> list[int]:
    """Compute the digests of several arrays."""
    return _core.digests(arrays, threads)
