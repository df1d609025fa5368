"""Quantized sections: quantized matrices and their contexts (docs/kernels.md, section 7)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vaecomp_native.reference.cursor import Cursor
from vaecomp_native.reference.rans import (
    Contexts,
    Symbols,
    read_blocks,
    read_stream,
    read_tables,
)

Float32Array = npt.NDArray[np.float32]
Axis = npt.NDArray[np.int32]

INT16_MIN, INT16_MAX = -(1 << 15), (1 << 15) - 1
ROW_EXPONENTS, ROW_LEVELS, COLUMN_EXPONENTS, COLUMN_LEVELS, CODEBOOK = 1, 2, 4, 8, 16
AXIS_RANGES = {
    ROW_EXPONENTS: (-64, 64),
    ROW_LEVELS: (0, 255),
    COLUMN_EXPONENTS: (-64, 64),
    COLUMN_LEVELS: (0, 255),
}
MAX_LEVEL = 255
MAX_CODEBOOK = 4_096
ROOT_TWO = np.uint32(0x3FB504F3).view(np.float32)


@dataclass(frozen=True)
class Matrix:
    """The fields that turn a tensor's symbols into values, without the axes.

    ``codebook`` is the first symbol and the values.
    """

    rows: int
    columns: int
    step: np.float32
    flags: int
    level: int
    codebook: tuple[int, Float32Array] | None


def matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Return a tensor's numbers of rows and columns.

    The rows are its first dimension, the columns all others. Below rank 2 there is one row.
    """
    if len(shape) < 2:
        return 1, math.prod(shape)
    return shape[0], math.prod(shape[1:])


def read_bfloat16(cursor: Cursor, field: str, count: int) -> Float32Array:
    """Read finite bfloat16 numbers and widen them to float32."""
    bits = cursor.array("u2", count, field).astype(np.uint32) << np.uint32(16)
    values: Float32Array = bits.view(np.float32)
    if not np.isfinite(values).all():
        cursor.fail(field, "a value is not finite")
    return values


def read_codebook(cursor: Cursor) -> tuple[int, Float32Array]:
    """Read a codebook's first symbol and its values."""
    first = cursor.zigzag("codebook's first symbol", INT16_MIN, INT16_MAX)
    size = cursor.varint("codebook's size", 1, MAX_CODEBOOK)
    if first + size - 1 > INT16_MAX:
        cursor.fail("codebook's size", f"the last symbol, {first + size - 1}, is above {INT16_MAX}")
    return first, read_bfloat16(cursor, "codebook", size)


def read_matrix(cursor: Cursor, shape: Sequence[int]) -> Matrix:
    """Read one tensor's entry."""
    (step,) = read_bfloat16(cursor, "step", 1)
    if step <= 0:
        cursor.fail("step", f"{step} is not above 0")
    flags = cursor.unpack("B", "matrix flags")
    if flags >= 2 * CODEBOOK:
        cursor.fail("matrix flags", f"{flags:#x} is not known")
    level = cursor.varint("context level", high=MAX_LEVEL)
    codebook = read_codebook(cursor) if flags & CODEBOOK else None
    return Matrix(*matrix_shape(shape), step, flags, level, codebook)


def read_axes(cursor: Cursor, matrices: Sequence[Matrix]) -> list[dict[int, Axis]]:
    """Read the arrays along rows and columns of each matrix, by flag."""
    lengths = [
        {
            flag: matrix.rows if flag < COLUMN_EXPONENTS else matrix.columns
            for flag in AXIS_RANGES
            if matrix.flags & flag
        }
        for matrix in matrices
    ]
    count = sum(sum(axes.values()) for axes in lengths)
    values = read_stream(cursor, -64, 255, count)
    result: list[dict[int, Axis]] = []
    begin = 0
    for axes in lengths:
        result.append({})
        for flag, length in axes.items():
            axis = values[begin : begin + length]
            low, high = AXIS_RANGES[flag]
            if ((axis < low) | (axis > high)).any():
                cursor.fail("axes", f"a value is not in the range {low} to {high}")
            result[-1][flag] = axis
            begin += length
    return result


def along(axes: dict[int, Axis], rows: int, columns: int) -> tuple[Axis, Axis]:
    """Return the arrays along the rows, [R, 1], and the columns, [C]; a zero for an absent one."""
    zeros = np.zeros(1, np.int32)
    return axes.get(rows, zeros)[:, None], axes.get(columns, zeros)


def scales(cursor: Cursor, matrix: Matrix, axes: dict[int, Axis]) -> Float32Array:
    """Compute step * 2^(exponent / 2), each rounded once: [R, C], or broadcastable to it."""
    exponents = along(axes, ROW_EXPONENTS, COLUMN_EXPONENTS)
    lowest = sum(int(axis.min()) for axis in exponents if axis.size)
    highest = sum(int(axis.max()) for axis in exponents if axis.size)
    every = np.arange(lowest, highest + 1)
    with np.errstate(all="ignore"):
        odd = np.where(every % 2 == 1, matrix.step * ROOT_TWO, matrix.step)
        table: Float32Array = np.ldexp(odd, every // 2)
    if not (np.isfinite(table) & (table >= np.finfo(np.float32).smallest_normal)).all():
        cursor.fail("axes", "a scale is no normal float32 number")
    rows, columns = exponents
    return np.asarray(table[rows + columns - lowest])


def levels(cursor: Cursor, matrix: Matrix, symbols: Symbols) -> Float32Array:
    """Turn symbols into values before they are scaled."""
    if matrix.codebook is None:
        return symbols.astype(np.float32)
    first, values = matrix.codebook
    if ((symbols < first) | (symbols >= first + values.size)).any():
        cursor.fail("block", "a symbol is not in the codebook")
    return values[symbols - first]


def read_quantized(
    cursor: Cursor, shapes: Sequence[Sequence[int]]
) -> tuple[int | None, list[Float32Array]]:
    """Read a section of kind 5: its base section, and float32 [elements] for each tensor."""
    head = cursor.head()
    base = head.varint("base section")
    matrices = [read_matrix(head, shape) for shape in shapes]
    axes = read_axes(head, matrices)
    scaled = [scales(head, matrix, own) for matrix, own in zip(matrices, axes, strict=True)]
    table_count, tables, lanes = read_tables(head, INT16_MIN, INT16_MAX)
    contexts = [
        contexts_of(matrix, own, table_count) for matrix, own in zip(matrices, axes, strict=True)
    ]
    every = np.concatenate([*contexts, np.empty(0, np.int64)])
    symbols = read_blocks(head, cursor, every, tables, lanes)
    head.finish("quantized section's head")
    cursor.finish("quantized section")
    values = []
    begin = 0
    for matrix, scale in zip(matrices, scaled, strict=True):
        end = begin + matrix.rows * matrix.columns
        own = levels(cursor, matrix, symbols[begin:end]).reshape(matrix.rows, matrix.columns)
        with np.errstate(over="ignore"):
            values.append((own * scale).reshape(-1))
        begin = end
    return (base - 1 if base else None), values


def contexts_of(matrix: Matrix, axes: dict[int, Axis], table_count: int) -> Contexts:
    """Find the number of each element's table, [elements]."""
    rows, columns = along(axes, ROW_LEVELS, COLUMN_LEVELS)
    contexts = np.minimum(matrix.level + rows + columns, table_count - 1)
    return np.array(np.broadcast_to(contexts, (matrix.rows, matrix.columns))).reshape(-1)


def add_base(base: Float32Array, values: Float32Array) -> Float32Array:
    """Add values to a base; every NaN of the sum becomes 0x7fc00000."""
    with np.errstate(all="ignore"):
        total: Float32Array = base + values
    total[np.isnan(total)] = np.uint32(0x7FC00000).view(np.float32)
    return total
