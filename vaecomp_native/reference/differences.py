"""Sections of exact differences from predicted tensors (docs/kernels.md, section 8)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.reference.bits import read_symbols
from vaecomp_native.reference.chunk import raw_bits
from vaecomp_native.reference.cursor import Cursor
from vaecomp_native.reference.quantized import matrix_shape
from vaecomp_native.reference.rans import (
    Contexts,
    Tables,
    block_parts,
    read_directory,
    read_stream,
    read_tables,
    take_block,
)

Array = npt.NDArray[Any]

MANTISSA_BITS = {"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}
ROW_LEVELS, COLUMN_LEVELS = 1, 2
MAX_LEVEL = 8_192
MAX_DETAIL = 3

Predict = Callable[[int | None], Sequence[Array]]
"""A function that predicts the section's tensors from a base section."""


@dataclass(frozen=True)
class Matrix:
    """The fields that choose the tables of a tensor's symbols, without the levels."""

    rows: int
    columns: int
    flags: int
    level: int


def ordered(bits: Array) -> Array:
    """Map bits of floats to integers that grow with the value. The map is its own inverse."""
    magnitude = bits.dtype.type(np.iinfo(bits.dtype).max >> 1)
    return np.where(bits > magnitude, bits ^ magnitude, bits)


def read_matrix(head: Cursor, shape: Sequence[int]) -> Matrix:
    """Read one tensor's entry."""
    flags = head.unpack("B", "matrix flags")
    if flags > ROW_LEVELS | COLUMN_LEVELS:
        head.fail("matrix flags", f"{flags:#x} is not known")
    return Matrix(*matrix_shape(shape), flags, head.zigzag("level", -MAX_LEVEL, MAX_LEVEL))


def read_contexts(
    head: Cursor, matrices: Sequence[Matrix], predictions: Sequence[Array]
) -> list[npt.NDArray[np.int64]]:
    """Find the number of each element's table; it is not yet limited to the last table."""
    lengths = [
        (m.rows if m.flags & ROW_LEVELS else 0, m.columns if m.flags & COLUMN_LEVELS else 0)
        for m in matrices
    ]
    levels = read_stream(head, 0, 255, sum(map(sum, lengths))).astype(np.int64)
    result = []
    for matrix, (row_count, column_count), predicted in zip(
        matrices, lengths, predictions, strict=True
    ):
        rows, columns, levels = np.split(levels, [row_count, row_count + column_count])
        if not predicted.size:  # an empty tensor may have an immense number of rows or columns
            result.append(np.empty(0, np.int64))
            continue
        form = predicted.dtype
        exponent_bits = 8 * form.itemsize - 1 - MANTISSA_BITS[form.name]
        bits = raw_bits(predicted).reshape(matrix.rows, matrix.columns).astype(np.uint64)
        exponents = (bits >> np.uint64(MANTISSA_BITS[form.name])).astype(np.int64)
        exponents &= (1 << exponent_bits) - 1
        # An axis without levels adds nothing. A level of 0 marks a row or column without changes.
        row_levels = rows if row_count else np.zeros(matrix.rows, np.int64)
        column_levels = columns if column_count else np.zeros(matrix.columns, np.int64)
        contexts = (matrix.level + row_levels[:, None] + column_levels) // 2 - exponents
        contexts[row_levels == 0] *= not row_count
        contexts[:, column_levels == 0] *= not column_count
        result.append(np.maximum(contexts, 0).reshape(-1))
    return result


def read_block(block: Cursor, contexts: Contexts, tables: Tables, lanes: int, detail: int) -> Array:
    """Read one block's differences, uint64 [count], modulo 2^64."""
    symbols, bits = read_symbols(block, contexts, tables, lanes)
    magnitudes = np.abs(symbols.astype(np.int64))
    counts = np.maximum((magnitudes >> detail) - 1, 0)
    raw = bits.take(counts)
    bits.finish()
    leading = (magnitudes - (counts << detail)).astype(np.uint64)
    distances = (leading << counts.astype(np.uint64)) + raw
    with np.errstate(over="ignore"):
        signed: Array = np.where(symbols < 0, np.uint64(0) - distances, distances)
    return signed


def moved(predicted: Array, distances: npt.NDArray[np.uint64]) -> Array:
    """Move predicted values by their distances; a positive distance leads away from zero."""
    bits = raw_bits(predicted)
    own = distances.astype(bits.dtype)
    negative = bits > bits.dtype.type(np.iinfo(bits.dtype).max >> 1)
    with np.errstate(over="ignore"):
        moved_ = ordered(bits) + np.where(negative, -own, own)
    return ordered(moved_.astype(bits.dtype)).view(predicted.dtype).reshape(predicted.shape)


def read_differences(
    cursor: Cursor, shapes: Sequence[Sequence[int]], predict: Predict
) -> list[Array]:
    """Read a section of kind 9: an array for each shape."""
    head = cursor.head()
    base = head.varint("base section")
    predictions = predict(base - 1 if base else None)
    detail = head.unpack("B", "detail")
    if detail > MAX_DETAIL:
        head.fail("detail", f"{detail} is above {MAX_DETAIL}")
    matrices = [read_matrix(head, shape) for shape in shapes]
    contexts = read_contexts(head, matrices, predictions)
    max_symbol = (64 - detail) << detail
    table_count, tables, lanes = read_tables(head, -max_symbol, max_symbol)
    every = np.minimum(np.concatenate([*contexts, np.empty(0, np.int64)]), table_count - 1)
    parts = block_parts(every.size)
    directory = read_directory(head, parts)
    head.finish("head of the section of differences")
    distances = np.empty(every.size, np.uint64)
    for (size, crc), part in zip(directory, parts, strict=True):
        take_block(cursor, size, crc)
        distances[part] = read_block(cursor.last_taken(), every[part], tables, lanes, detail)
    cursor.finish("section of differences")
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    return [
        moved(predicted, own)
        for predicted, own in zip(predictions, np.split(distances, ends), strict=True)
    ]
