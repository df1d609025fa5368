"""Exact sections: differences from what is predicted (kernels.md, 8)."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from basics import Reader
from sections import (
    UINT8,
    Table,
    block_sizes,
    decode_block,
    read_block,
    read_directory,
    read_lanes,
    read_stream,
    read_table,
)

# The letter of `struct`, bits, and bits of the mantissa.
FORMATS = {
    "float16": ("H", 16, 10),
    "bfloat16": ("H", 16, 7),
    "float32": ("I", 32, 23),
    "float64": ("Q", 64, 52),
}
ROW_LEVELS, COLUMN_LEVELS = 1, 2

Spec = tuple[str, tuple[int, ...]]  # dtype and shape


def ordered(u: int, bits: int) -> int:
    return u ^ ((1 << bits - 1) - 1) if u >> bits - 1 else u


def move(p: int, difference: int, bits: int) -> int:
    """The element whose prediction is `p`."""
    distance = -difference if p >> bits - 1 else difference
    return ordered((ordered(p, bits) + distance) % (1 << bits), bits)


def contexts_of(
    level: int, rows: list[int], columns: list[int], exponents: Iterator[int]
) -> Iterator[int]:
    """The tables of a matrix, but for the greatest; `rows` and `columns` are -1 where there are no levels."""
    for row in rows:
        for column in columns:
            total = level + max(row, 0) + max(column, 0)
            context = max(total // 2 - next(exponents), 0)
            yield 0 if row == 0 or column == 0 else context


def read_contexts(head: Reader, specs: Sequence[Spec], words: list[tuple[int, ...]]) -> list[int]:
    """Read what chooses the tables of all elements, of which `words` are the predictions."""
    heads = []
    count = 0
    for _, shape in specs:
        flags = head.number("B", "flags")
        head.require(flags < 4, "flags", f"{flags} is not allowed")
        level = head.zigzag("level")
        head.require(abs(level) <= 8192, "level", f"{level} is not -8,192 to 8,192")
        rows = shape[0] if len(shape) >= 2 else 1
        columns = math.prod(shape[1:] if len(shape) >= 2 else shape)
        heads.append((flags, level, rows, columns))
        count += (rows if flags & ROW_LEVELS else 0) + (columns if flags & COLUMN_LEVELS else 0)
    levels = iter(read_stream(head, count, UINT8).read(head))
    contexts: list[int] = []
    for (dtype, _), (flags, level, rows, columns), own in zip(specs, heads, words, strict=True):
        along_rows = list(islice(levels, rows)) if flags & ROW_LEVELS else [-1] * bool(own) * rows
        along_columns = (
            list(islice(levels, columns)) if flags & COLUMN_LEVELS else [-1] * bool(own) * columns
        )
        _, bits, mantissa = FORMATS[dtype]
        mask = (1 << bits - 1 - mantissa) - 1
        exponents = (p >> mantissa & mask for p in own)
        contexts += contexts_of(level, along_rows, along_columns, exponents)
    return contexts


def read_differences(
    block: Reader, count: int, lanes: int, tables: Iterator[Table], detail: int
) -> Iterator[int]:
    """Read one block."""
    data = block.take(block.number("I", "size"), "symbols")
    symbols = decode_block(block, data, lanes, islice(tables, count))
    left = 8 * (block.end - block.position)
    bits = int.from_bytes(block.take(left // 8, "bits"), "little")
    for symbol in symbols:
        m = abs(symbol)
        r = (m >> detail) - 1 if m >> detail + 1 else 0
        block.require(r <= left, "bits", "they end before the last element")
        magnitude = (m - (r << detail) << r) + (bits & (1 << r) - 1)
        bits >>= r
        left -= r
        yield -magnitude if symbol < 0 else magnitude
    block.require(left < 8 and bits == 0, "bits", "some are left over")


def read_exact(
    head: Reader,
    blocks: Reader,
    specs: Sequence[Spec],
    predict: Callable[[Reader, int], list[bytes]],
) -> list[bytes]:
    """Read an exact section; `predict` gives the predictions that a base makes."""
    words = [
        struct.unpack(f"<{math.prod(shape)}{FORMATS[dtype][0]}", data)
        for (dtype, shape), data in zip(specs, predict(head, head.varint("base")), strict=True)
    ]
    detail = head.number("B", "detail")
    head.require(detail <= 3, "detail", f"{detail} is above 3")
    contexts = read_contexts(head, specs, words)
    most = 64 - detail << detail
    tables = [read_table(head, (-most, most)) for _ in range(head.varint("table_count", 1, 256))]
    lanes = read_lanes(head)
    directory = read_directory(head, len(contexts), lanes).directory
    head.finish()
    chosen = (tables[min(context, len(tables) - 1)] for context in contexts)
    differences: list[int] = []
    for (size, crc), count in zip(directory, block_sizes(len(contexts)), strict=True):
        read_block(blocks, size, crc)
        blocks.position -= size
        block = blocks.part(size, "block")
        differences += read_differences(block, count, lanes, chosen, detail)
    blocks.finish()
    elements = iter(differences)
    result = []
    for (dtype, _), own in zip(specs, words, strict=True):
        code, bits, _ = FORMATS[dtype]
        moved = [move(p, next(elements), bits) for p in own]
        result.append(struct.pack(f"<{len(moved)}{code}", *moved))
    return result
