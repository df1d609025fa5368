"""Tensors to chunks and back, with the conversions to and from float32 (docs/kernels.md, 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class NarrowFormat:
    """A binary floating-point format of at most 16 bits: sign, exponent, mantissa.

    A format without infinity, such as float8_e4m3fn, has one NaN per sign, with all exponent and
    mantissa bits set. The other patterns of its highest exponent are finite.
    """

    exponent_bits: int
    mantissa_bits: int
    has_infinity: bool

    @property
    def bias(self) -> int:
        """The exponent's bias."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def top(self) -> int:
        """The pattern with all exponent bits set and mantissa zero: infinity if there is one."""
        return ((1 << self.exponent_bits) - 1) << self.mantissa_bits

    @property
    def first_nan(self) -> int:
        """The smallest magnitude pattern that is a NaN."""
        return self.top + 1 if self.has_infinity else self.top | ((1 << self.mantissa_bits) - 1)

    @property
    def overflow(self) -> int:
        """The magnitude pattern after the largest finite one: infinity, or NaN without one."""
        return self.top if self.has_infinity else self.first_nan

    @property
    def canonical_nan(self) -> int:
        """The magnitude pattern that a float32 NaN becomes."""
        quiet = 1 << (self.mantissa_bits - 1)
        return self.top | quiet if self.has_infinity else self.first_nan


NARROW_FORMATS = {
    "float16": NarrowFormat(5, 10, True),
    "bfloat16": NarrowFormat(8, 7, True),
    "float8_e5m2": NarrowFormat(5, 2, True),
    "float8_e4m3fn": NarrowFormat(4, 3, False),
}


def raw_bits(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the elements' bits in C order as native unsigned integers, [array.size]."""
    flat = np.ascontiguousarray(array).reshape(-1)
    order = flat.dtype.byteorder if flat.dtype.byteorder in "<>" else "="
    return flat.view(f"{order}u{flat.itemsize}").astype(f"=u{flat.itemsize}")


def widen_narrow(bits: npt.NDArray[Any], form: NarrowFormat) -> Bits:
    """Widen patterns of a narrow format to float32 patterns.

    Values stay exact. A NaN becomes quiet, with its payload in the top bits of the mantissa.
    """
    pattern = bits.astype(np.uint32)
    shift = 23 - form.mantissa_bits
    width = form.exponent_bits + form.mantissa_bits
    magnitude = pattern & np.uint32((1 << width) - 1)
    mantissa = magnitude & np.uint32((1 << form.mantissa_bits) - 1)
    normal = (magnitude + np.uint32((127 - form.bias) << form.mantissa_bits)) << np.uint32(shift)
    step = np.float32(2.0 ** (1 - form.bias - form.mantissa_bits))
    subnormal = (mantissa.astype(np.float32) * step).view(np.uint32)
    wide: Bits = np.where(magnitude >> np.uint32(form.mantissa_bits) == 0, subnormal, normal)
    if form.has_infinity:
        wide = np.where(magnitude == form.top, np.uint32(0x7F800000), wide)
    nan = np.uint32(0x7FC00000) | mantissa << np.uint32(shift)
    wide = np.where(magnitude >= form.first_nan, nan, wide)
    wide |= (pattern >> np.uint32(width)) << np.uint32(31)
    return wide


def round_to_narrow(bits: Bits, form: NarrowFormat) -> npt.NDArray[np.int64]:
    """Round float32 patterns to nearest even in a narrow format, subnormals included."""
    pattern = bits.astype(np.int64)
    magnitude = pattern & 0x7FFFFFFF
    exponent = np.maximum(magnitude >> 23, 1)
    significand = (magnitude & 0x7FFFFF) | (magnitude >= 0x800000).astype(np.int64) << 23
    # Below the narrow format's smallest normal exponent the spacing stays fixed, so more bits are
    # shifted out. A shift of 25 already leaves less than half a step of the 24-bit significand.
    narrow_exponent = exponent - 127 + form.bias
    shift = np.minimum(23 - form.mantissa_bits + np.maximum(1 - narrow_exponent, 0), 25)
    half_less_one = (np.int64(1) << (shift - 1)) - 1
    rounded = (significand + half_less_one + (significand >> shift & 1)) >> shift
    # The hidden bit is part of `rounded`, and a carry out of the mantissa raises the exponent by
    # itself.
    narrow: npt.NDArray[np.int64]
    narrow = (np.maximum(narrow_exponent, 1) - 1 << form.mantissa_bits) + rounded
    narrow = np.minimum(narrow, form.overflow)
    narrow = np.where(magnitude > 0x7F800000, form.canonical_nan, narrow)
    return narrow | pattern >> 31 << (form.exponent_bits + form.mantissa_bits)


def widen_float64(bits: npt.NDArray[np.uint64]) -> Bits:
    """Round float64 patterns to float32; a NaN keeps the top 23 bits of its mantissa."""
    with np.errstate(all="ignore"):
        rounded = bits.view(np.float64).astype(np.float32).view(np.uint32)
    sign = (bits >> np.uint64(32)).astype(np.uint32) & np.uint32(0x80000000)
    payload = (bits >> np.uint64(29)).astype(np.uint32) & np.uint32(0x7FFFFF)
    is_nan = bits & np.uint64(0x7FFFFFFFFFFFFFFF) > np.uint64(0x7FF0000000000000)
    return np.where(is_nan, sign | np.uint32(0x7FC00000) | payload, rounded)


def extend_to_float64(bits: Bits) -> npt.NDArray[np.uint64]:
    """Extend float32 patterns to float64 patterns; values stay exact, and NaNs become quiet."""
    with np.errstate(all="ignore"):
        exact = bits.view(np.float32).astype(np.float64).view(np.uint64)
    wide = bits.astype(np.uint64)
    sign = wide >> np.uint64(31) << np.uint64(63)
    mantissa = (wide & np.uint64(0x7FFFFF)) << np.uint64(29)
    is_nan = wide & np.uint64(0x7FFFFFFF) > np.uint64(0x7F800000)
    return np.where(is_nan, sign | np.uint64(0x7FF8000000000000) | mantissa, exact)


def to_float32_bits(array: npt.NDArray[Any]) -> Bits:
    """Convert a floating-point array to float32 patterns in C order, [array.size].

    Raises ValueError if the dtype is none of the six that chunks are made from.
    """
    name = array.dtype.name
    if name == "float32":
        return raw_bits(array)
    if name == "float64":
        return widen_float64(raw_bits(array))
    if name in NARROW_FORMATS:
        return widen_narrow(raw_bits(array), NARROW_FORMATS[name])
    raise ValueError(
        f"tensors of dtype {name} cannot be cut into chunks; use a floating-point dtype"
    )


def from_float32_bits(bits: Bits, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Convert float32 patterns [n] to an array [n] of one of the six dtypes, in native byte order.

    Raises ValueError if the dtype is none of them.
    """
    name = dtype.name
    patterns: npt.NDArray[Any]
    if name == "float32":
        patterns = bits.copy()
    elif name == "float64":
        patterns = extend_to_float64(bits)
    elif name in NARROW_FORMATS:
        patterns = round_to_narrow(bits, NARROW_FORMATS[name]).astype(f"=u{dtype.itemsize}")
    else:
        raise ValueError(f"chunks cannot be converted to dtype {name}; use a floating-point dtype")
    array: npt.NDArray[Any] = patterns.view(dtype.newbyteorder("="))
    return array


def flatten_chunk(
    tensors: Sequence[npt.NDArray[Any]], chunk_length: int
) -> tuple[npt.NDArray[np.float32], int]:
    """Cut tensors into chunks, float32 [K, C], and count the padding elements, fewer than C.

    ``tensors`` are arrays of float64, float32, float16, bfloat16, float8_e4m3fn or float8_e5m2, of
    any shape, strides and byte order. Raises ValueError for another dtype and for a chunk length
    below 1.
    """
    if chunk_length < 1:
        raise ValueError(f"chunk_length is {chunk_length}; it must be at least 1")
    elements = sum(tensor.size for tensor in tensors)
    padding = -elements % chunk_length
    parts = [to_float32_bits(tensor) for tensor in tensors]
    flat = np.concatenate([*parts, np.zeros(padding, np.uint32)])
    return flat.view(np.float32).reshape(-1, chunk_length), padding


def unchunk(
    chunks: npt.NDArray[np.float32], specs: Sequence[tuple[tuple[int, ...], npt.DTypeLike]]
) -> list[npt.NDArray[Any]]:
    """Invert ``flatten_chunk``: cut chunks, float32 [K, C], into an array for each (shape, dtype).

    Raises ValueError if the chunks have fewer elements than the specs, or a dtype is none of the
    six.
    """
    sizes = [math.prod(shape) for shape, _ in specs]
    if sum(sizes) > chunks.size:
        raise ValueError(
            f"{chunks.size} elements of chunks are too few for {sum(sizes)} of tensors"
        )
    bits: Bits = raw_bits(chunks)
    borders = np.cumsum([0, *sizes])
    return [
        from_float32_bits(bits[start : start + size], np.dtype(dtype)).reshape(shape)
        for (shape, dtype), start, size in zip(specs, borders, sizes, strict=False)
    ]
