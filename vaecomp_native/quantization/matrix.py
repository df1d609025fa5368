"""A quantized matrix: integer symbols and how they become numbers (format.md, Quantized)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.io.scratch import Scratch

Float32Array = npt.NDArray[np.float32]
LARGEST_SYMBOL = 2047
"""The largest symbol in magnitude: a frequency table spans at most 4,096 symbols."""
SLAB_ELEMENTS = 1 << 18
"""The number of elements of a large matrix that are treated at a time."""
ROOT_TWO = np.float32(1.4142135)


@dataclass(frozen=True)
class Codebook:
    """The values of symbols `first`, `first + 1`, ...: float32 [size], each a bfloat16 number."""

    first: int
    values: Float32Array


@dataclass(frozen=True)
class QuantizedMatrix:
    """Symbols [R, C] with a step or a codebook, and scales of rows and columns in half octaves.

    Element (i, j) is level(q) * step * 2^((row_exponents[i] + column_exponents[j]) / 2). Here q is
    its symbol, and level(q) is q itself or the codebook's entry. `step` is a positive bfloat16
    number. Exponents are int8 [R] and [C], or None for zeros. Symbols are kept as int8 where they
    fit, else as int16. Raises ValueError if they do not fit int16.
    """

    symbols: npt.NDArray[np.signedinteger[Any]]
    step: float = 1.0
    codebook: Codebook | None = None
    row_exponents: npt.NDArray[np.int8] | None = None
    column_exponents: npt.NDArray[np.int8] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "symbols", _narrowed(self.symbols))

    def kept_in(self, scratch: Scratch) -> QuantizedMatrix:
        """The same with its symbols in `scratch`."""
        return replace(self, symbols=scratch.copy(self.symbols))

    def values(self, dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
        """Decode to float32 [R, C], with the bits that an archive decodes to.

        Another `dtype` is what these values are rounded to.
        """
        result = np.empty(self.symbols.shape, dtype)
        for rows in slabs(self.symbols.shape):
            result[rows] = self._levels(self.symbols[rows]) * self._scales(rows)
        return result

    def columns(self, start: int, stop: int) -> QuantizedMatrix:
        """The matrix of columns `start` to `stop` - 1."""
        exponents = self.column_exponents
        return replace(
            self,
            symbols=self.symbols[:, start:stop],
            column_exponents=None if exponents is None else exponents[start:stop],
        )

    def _levels(self, symbols: npt.NDArray[Any]) -> Float32Array:
        if self.codebook is None:
            return symbols.astype(np.float32)
        return self.codebook.values[symbols.astype(np.int64) - self.codebook.first]

    def _scales(self, rows: slice) -> Float32Array:
        exponents = np.zeros((1, 1), np.int32)
        if self.row_exponents is not None:
            exponents = exponents + self.row_exponents[rows, None]
        if self.column_exponents is not None:
            exponents = exponents + self.column_exponents
        lowest = int(exponents.min(initial=0))
        table = scales(self.step, np.arange(lowest, int(exponents.max(initial=0)) + 1))
        found: Float32Array = table[exponents - lowest]
        return found


def _narrowed(symbols: npt.NDArray[Any]) -> npt.NDArray[np.signedinteger[Any]]:
    """Symbols as int8 or int16, C-contiguous: wider ones need much memory in a large model."""
    if symbols.dtype == np.int8 and symbols.flags.c_contiguous:
        return symbols
    largest = max(int(symbols.max(initial=0)), -int(symbols.min(initial=0)))
    if largest > np.iinfo(np.int16).max:
        raise ValueError(f"a symbol is {largest}; symbols must fit 16 bits")
    return np.ascontiguousarray(symbols, np.int8 if largest <= np.iinfo(np.int8).max else np.int16)


Quantizer = Callable[[Float32Array, npt.NDArray[Any], float], QuantizedMatrix]
"""A function of values float32 [R, C], their importance and the rate weight."""


def matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of a tensor's matrix: shape[0] rows for rank 2 and up, else one row."""
    size = math.prod(shape)
    rows = shape[0] if len(shape) >= 2 else 1
    return rows, size // rows if rows else 0


def slabs(shape: tuple[int, ...], elements: int = SLAB_ELEMENTS) -> Iterator[slice]:
    """Cut the rows of a matrix of this shape into slabs, so that temporary arrays stay small."""
    rows, columns = shape
    step = max(1, elements // max(columns, 1))
    for start in range(0, rows, step):
        yield slice(start, start + step)


def scales(step: float | Float32Array, exponents: npt.NDArray[Any]) -> Float32Array:
    """`step` * 2^(exponents / 2) in float32: odd exponents round once, even ones are exact."""
    even = np.asarray(step, np.float32)
    odd = np.where(exponents % 2 == 1, even * ROOT_TWO, even)
    scaled: Float32Array = np.ldexp(odd, exponents // 2)
    return scaled


def to_bfloat16(values: npt.ArrayLike) -> Float32Array:
    """The nearest bfloat16 numbers (ties to even), as float32."""
    array = np.asarray(values, np.float32)
    bits = array.reshape(-1).view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)
    result: Float32Array = rounded.view(np.float32).reshape(array.shape)
    return result
