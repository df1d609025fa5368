"""Split tensors of lossless sections: symbols of high bits, and low bits as they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vaecomp_native.reference.bits import IntArray, Words, read_symbols
from vaecomp_native.reference.cursor import Cursor
from vaecomp_native.reference.rans import (
    Tables,
    block_parts,
    read_directory,
    read_stream,
    read_tables,
    take_block,
)

ROW_LEVELS, COLUMN_LEVELS, ROW_ZEROS = 1, 2, 4
MAX_SYMBOLS = 4_095
MAX_LEVEL = 255


@dataclass(frozen=True)
class Split:
    """The fields of a split tensor before its tables."""

    low: int
    high: int
    origin: int
    symbols: int
    flags: int
    level: int


def read_fields(head: Cursor, item_bits: int) -> Split:
    """Read the fields of a tensor of items of so many bits."""
    low = head.unpack("B", "low bits")
    if not 0 < low < item_bits:
        head.fail("low bits", f"{low} of {item_bits} are none or all")
    origin = head.varint("origin")
    symbols = head.varint("symbol count", 1, MAX_SYMBOLS)
    if origin + symbols > 1 << (item_bits - low):
        head.fail("symbol count", f"{symbols} symbols exceed {item_bits - low} bits")
    flags = head.unpack("B", "flags")
    if flags >= 2 * ROW_ZEROS:
        head.fail("flags", f"{flags:#x} is not known")
    level = head.varint("context level", 0, MAX_LEVEL)
    return Split(low, item_bits - low, origin, symbols, flags, level)


def read_axes(head: Cursor, split: Split, rows: int, columns: int) -> list[IntArray]:
    """Read the levels of rows and of columns, and the zeros of rows; zeros for what is absent."""
    lengths = {ROW_LEVELS: rows, COLUMN_LEVELS: columns, ROW_ZEROS: rows}
    there = [length if split.flags & flag else 0 for flag, length in lengths.items()]
    values = read_stream(head, 0, MAX_LEVEL, sum(there)).astype(np.int64)
    axes = []
    for present, length in zip(there, lengths.values(), strict=True):
        axes.append(values[:present] if present else np.zeros(length, np.int64))
        values = values[present:]
    if (axes[2] >= split.low).any():
        head.fail("axes", f"a row has {axes[2].max()} zeros in {split.low} low bits")
    return axes


def read_block(
    block: Cursor, split: Split, tables: Tables, contexts: IntArray, zeros: IntArray, lanes: int
) -> Words:
    """Read the items of one block: exponents at the top and signs at the bottom."""
    symbols, bits = read_symbols(block, contexts, tables, lanes)
    lows = bits.take(split.low - zeros)
    lows = (lows >> np.uint64(1) << np.uint64(1) << zeros.astype(np.uint64)) | lows & np.uint64(1)
    highs = (symbols.astype(np.int64) + split.origin).astype(np.uint64)
    escapes = symbols == split.symbols
    highs[escapes] = bits.take(np.full(np.count_nonzero(escapes), split.high, np.int64))
    bits.finish()
    items: Words = highs << np.uint64(split.low) | lows
    return items


def read_split(head: Cursor, payload: Cursor, rows: int, columns: int, item_bits: int) -> Words:
    """Read the turned items of a matrix [rows, columns], behind the tensor's form."""
    split = read_fields(head, item_bits)
    row_levels, column_levels, row_zeros = read_axes(head, split, rows, columns)
    count, tables, lanes = read_tables(head, 0, split.symbols)
    levels = split.level + row_levels[:, None] + column_levels
    contexts = np.minimum(levels, count - 1).reshape(-1)
    zeros = np.repeat(row_zeros, columns)
    items = np.empty(rows * columns, np.uint64)
    parts = block_parts(items.size)
    for (size, crc), part in zip(read_directory(head, parts), parts, strict=True):
        take_block(payload, size, crc)
        block = payload.last_taken()
        items[part] = read_block(block, split, tables, contexts[part], zeros[part], lanes)
    return items
