"""Split tensors of lossless sections: symbols of high bits, and low bits as they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vaecomp_native.reference.cursor import Cursor
from vaecomp_native.reference.rans import (
    Symbols,
    Tables,
    block_parts,
    decode_block,
    read_lanes,
    read_stream,
    read_table,
    take_block,
)

IntArray = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

ROW_LEVELS, COLUMN_LEVELS, ROW_ZEROS = 1, 2, 4
MAX_SYMBOLS = 4_095
MAX_LEVEL = 255
MAX_TABLES = 256


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


def take_numbers(block: Cursor, widths: IntArray) -> tuple[Words, Words]:
    """Read numbers of so many bits each. Gives them and the bits behind them."""
    data = np.frombuffer(block.take(block.left, "bits"), np.uint8)
    bits = np.unpackbits(data, bitorder="little").astype(np.uint64)
    return cut_numbers(block, bits, widths)


def cut_numbers(block: Cursor, bits: Words, widths: IntArray) -> tuple[Words, Words]:
    """Cut numbers from bits, the lowest bit of each first."""
    starts = np.cumsum(widths) - widths
    total = int(widths.sum())
    if total > len(bits):
        block.fail("bits", "the block ends before its last symbol's")
    numbers = np.zeros(len(widths), np.uint64)
    for bit in range(int(widths.max(initial=0))):
        wide = widths > bit
        numbers[wide] |= bits[starts[wide] + bit] << np.uint64(bit)
    return numbers, bits[total:]


def read_block(
    block: Cursor, split: Split, tables: Tables, contexts: IntArray, zeros: IntArray, lanes: int
) -> Words:
    """Read the items of one block: exponents at the top and signs at the bottom."""
    size = block.unpack("I", "symbols' size")
    block.take(size, "symbols")
    symbols: Symbols = decode_block(block.last_taken(), contexts, tables, lanes)
    lows, left = take_numbers(block, split.low - zeros)
    lows = (lows >> np.uint64(1) << np.uint64(1) << zeros.astype(np.uint64)) | lows & np.uint64(1)
    highs = (symbols.astype(np.int64) + split.origin).astype(np.uint64)
    escapes = symbols == split.symbols
    widths = np.full(np.count_nonzero(escapes), split.high, np.int64)
    highs[escapes], left = cut_numbers(block, left, widths)
    if len(left) >= 8 or left.any():
        block.fail("bits", f"{len(left)} are left over")
    items: Words = highs << np.uint64(split.low) | lows
    return items


def read_split(head: Cursor, payload: Cursor, rows: int, columns: int, item_bits: int) -> Words:
    """Read the turned items of a matrix [rows, columns], behind the tensor's form."""
    split = read_fields(head, item_bits)
    row_levels, column_levels, row_zeros = read_axes(head, split, rows, columns)
    count = head.varint("table count", 1, MAX_TABLES)
    tables = Tables([read_table(head, 0, split.symbols) for _ in range(count)])
    lanes = read_lanes(head)
    levels = split.level + row_levels[:, None] + column_levels
    contexts = np.minimum(levels, count - 1).reshape(-1)
    zeros = np.repeat(row_zeros, columns)
    items = np.empty(rows * columns, np.uint64)
    parts = block_parts(items.size)
    directory = [(head.varint("block size"), head.unpack("I", "block CRC-32C")) for _ in parts]
    for (size, crc), part in zip(directory, parts, strict=True):
        take_block(payload, size, crc)
        block = payload.last_taken()
        items[part] = read_block(block, split, tables, contexts[part], zeros[part], lanes)
    return items
