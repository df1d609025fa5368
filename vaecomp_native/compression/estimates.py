"""What codecs would make of weights, at a small part of what it costs to make it.

Entropies are those of samples: pieces of large tensors, and some of many that are alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.quantization.batches import batches
from vaecomp_native.quantization.bunch import joined
from vaecomp_native.quantization.entropy import entropy_bits

Array = npt.NDArray[Any]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
SAMPLE, PIECES = 1 << 16, 16
"""Elements that are looked at of a larger tensor, in so many pieces."""
MAX_ALIKE = 256
"""Tensors that are looked at of those of one shape and dtype."""
PLANE_BYTES = 18
"""What a coded byte plane takes beside its table and its code."""
MATRIX_BYTES = 4
"""What a quantized matrix takes beside its symbols."""
TENSOR_BYTES = 20
"""About what the index takes for a tensor beside its name."""


@dataclass(frozen=True)
class _Sample:
    """Elements of a tensor, how many the tensor has, and for how many tensors it stands."""

    elements: Array
    size: int
    tensors: float


def lossless_bytes(arrays: Mapping[str, Array]) -> int:
    """About what the lossless codec makes of arrays, from the entropy of their byte planes."""
    total = 0.0
    for samples in _samples(arrays):
        total += sum(_planes_bytes(samples))
    return round(total)


def quantized_bytes(arrays: Mapping[str, Array], bits: float) -> float:
    """About what float arrays take that are quantized at `bits` a weight, which may be infinite.

    That is less where they hold few different values.
    """
    total = float(MATRIX_BYTES * len(arrays))
    for samples in _samples(arrays):
        words = np.sort(_words([one.elements for one in samples]))
        last = np.flatnonzero(np.append(words[1:] != words[:-1], True))
        entropy = entropy_bits(np.diff(last, prepend=-1)) / len(words)
        # A sample of values that are nearly all different says nothing of how many there are.
        needed = bits if entropy > math.log2(len(words)) - 1 else min(bits, entropy)
        total += needed / 8 * sum(one.size * one.tensors for one in samples)
    return total


def index_bytes(names: Sequence[str]) -> int:
    """About what the container takes."""
    return sum(TENSOR_BYTES + len(name) // 2 for name in names)


def _samples(arrays: Mapping[str, Array]) -> Iterator[list[_Sample]]:
    """Samples of tensors of one dtype, some at a time."""
    alike: dict[tuple[np.dtype[Any], tuple[int, ...]], list[Array]] = {}
    for array in arrays.values():
        if array.size:
            alike.setdefault((array.dtype, array.shape), []).append(array)
    by_dtype: dict[np.dtype[Any], list[_Sample]] = {}
    random = np.random.default_rng(0)
    for (dtype, _), group in alike.items():
        chosen = group
        if len(group) > MAX_ALIKE:
            chosen = [group[i] for i in random.choice(len(group), MAX_ALIKE, replace=False)]
        share = len(group) / len(chosen)
        by_dtype.setdefault(dtype, []).extend(
            _Sample(_elements(one), one.size, share) for one in chosen
        )
    for samples in by_dtype.values():
        for run in batches({number: one.elements.size for number, one in enumerate(samples)}):
            yield [samples[number] for number in run]


def _elements(array: Array) -> Array:
    """Elements of an array, all of them or pieces."""
    if array.size <= SAMPLE:
        return array.reshape(-1)
    if not array.flags.c_contiguous:
        # Slices of the first dimension, so that the rest is not copied.
        count = min(max(1, SAMPLE // max(array[0].size, 1)), len(array))
        slices = array[np.linspace(0, len(array) - 1, count).astype(np.int64)]
        return slices.reshape(-1)[:SAMPLE]
    length = SAMPLE // PIECES
    starts = np.linspace(0, array.size - length, PIECES).astype(np.int64)
    flat = array.reshape(-1)
    return np.concatenate([flat[start : start + length] for start in starts.tolist()])


def _words(parts: Sequence[Array]) -> npt.NDArray[Any]:
    """The bits of elements of one dtype; a complex number makes two words."""
    dtype = parts[0].dtype
    return joined(parts, dtype).view(f"u{dtype.itemsize // _items(dtype)}")


def _planes_bytes(samples: Sequence[_Sample]) -> Iterator[float]:
    """Of each byte plane of tensors of one dtype, all of them together."""
    dtype = samples[0].elements.dtype
    words = _words([one.elements for one in samples])
    # As the codec does: a float's sign moves to the end, so that the exponent fills a byte.
    if words.itemsize > 1 and dtype.kind not in "iu":
        words = (words << 1) | (words >> (8 * words.itemsize - 1))
    seen = np.array([one.elements.size for one in samples]) * _items(dtype)
    whole = np.array([one.size for one in samples]) * _items(dtype)
    tensors = np.array([one.tensors for one in samples])
    number = np.repeat(np.arange(len(samples)), seen)
    for plane in range(words.itemsize):
        symbols = (words >> (8 * plane)).astype(np.uint8)
        bits, tables = _code(number * 256 + symbols, seen)
        coded = whole / seen * bits / 8 + tables + PLANE_BYTES
        yield float(tensors @ np.minimum(coded, whole))


def _code(keys: IntArray, lengths: IntArray) -> tuple[Float64Array, Float64Array]:
    """Ideal bits of each tensor's bytes, and about the bytes of its frequency table.

    `keys` are 256 times the tensor's number and the byte; tensors have `lengths` bytes.
    """
    counts = np.bincount(keys)
    there = np.flatnonzero(counts)
    counts, tensor = counts[there], there >> 8
    known = np.bincount(tensor, counts * np.log2(counts), len(lengths))
    first = np.searchsorted(tensor, np.arange(len(lengths)))
    last = np.append(first[1:], len(tensor)) - 1
    wide = np.bincount(tensor, counts * 32 >= lengths[tensor], len(lengths))
    spans = there[last] - there[first] + 1
    return np.asarray(lengths * np.log2(lengths) - known), np.asarray(spans + wide)


def _items(dtype: np.dtype[Any]) -> int:
    return 2 if _core.dtype_name(dtype).startswith("complex") else 1
