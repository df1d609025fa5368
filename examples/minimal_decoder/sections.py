"""What the sections hold: symbol streams, decoders, latents, residuals and lossless planes."""

from __future__ import annotations

import itertools
import math
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import add, mul
from typing import Any

from basics import DTYPES, Reader, bits_to_float, crc32c, float32, fma, one_nan

BLOCK = 131_072
UINT8, INT8, INT16, AXES = (0, 255), (-128, 127), (-(2**15), 2**15 - 1), (-64, 255)

# Symbol streams.


@dataclass(frozen=True)
class Table:
    """Symbol `first + j` has the frequency and the start of index `j`."""

    first: int
    frequencies: list[int]
    starts: list[int]


@dataclass(frozen=True)
class Blocks:
    """What a directory says of the blocks of a sequence of symbols."""

    count: int
    lanes: int
    directory: list[tuple[int, int]]  # bytes and CRC

    def read(self, reader: Reader, tables: Iterator[Table]) -> list[int]:
        """Read the blocks; `tables` gives the table of each symbol."""
        symbols: list[int] = []
        for (size, crc), count in zip(self.directory, block_sizes(self.count), strict=True):
            data = read_block(reader, size, crc)
            symbols += decode_block(reader, data, self.lanes, itertools.islice(tables, count))
        return symbols


@dataclass(frozen=True)
class Stream:
    """A symbol stream up to its blocks."""

    segments: list[tuple[int, Table]]  # length and table
    blocks: Blocks

    def read(self, reader: Reader) -> list[int]:
        repeated = (itertools.repeat(table, length) for length, table in self.segments)
        return self.blocks.read(reader, itertools.chain.from_iterable(repeated))


def block_sizes(count: int) -> list[int]:
    return [min(BLOCK, count - start) for start in range(0, count, BLOCK)]


def read_block(reader: Reader, size: int, crc: int) -> bytes:
    data = reader.take(size, "block")
    reader.require(crc32c(data) == crc, "block", "its CRC differs")
    return data


def decode_block(reader: Reader, data: bytes, lanes: int, tables: Iterator[Table]) -> list[int]:
    word_bytes = len(data) - 4 * lanes
    reader.require(word_bytes >= 0 and word_bytes % 2 == 0, "block", "not states and words")
    states = list(struct.unpack_from(f"<{lanes}I", data))
    words = iter(struct.unpack_from(f"<{word_bytes // 2}H", data, 4 * lanes))
    reader.require(min(states) >= 2**16, "block", "a state is below 2^16")
    symbols = []
    for i, table in enumerate(tables):
        x = states[i % lanes]
        slot = x & 4095
        # A symbol of frequency 0 starts where the next one does, so the last one to start here is the right one.
        j = bisect_right(table.starts, slot) - 1
        x = table.frequencies[j] * (x >> 12) + slot - table.starts[j]
        if x < 2**16:
            word = next(words, None)
            if word is None:
                reader.fail("block", "it lacks words")
            x = x << 16 | word
        states[i % lanes] = x
        symbols.append(table.first + j)
    reader.require(set(states) == {2**16}, "block", "a state does not end at 2^16")
    reader.require(next(words, None) is None, "block", "it has words left over")
    return symbols


def read_table(reader: Reader, symbols: tuple[int, int]) -> Table:
    first = reader.zigzag("table first")
    reader.require(symbols[0] <= first, "table first", "below the range of its symbols")
    size = reader.varint("table size", 1, 4096)
    reader.require(first + size - 1 <= symbols[1], "table size", "above the range of its symbols")
    frequencies = [reader.varint("frequency", 0, 4096) for _ in range(size)]
    reader.require(sum(frequencies) == 4096, "frequencies", "their sum is not 4,096")
    reader.require(frequencies[0] > 0 and frequencies[-1] > 0, "frequencies", "zero at an end")
    return Table(first, frequencies, list(itertools.accumulate(frequencies[:-1], initial=0)))


def read_lanes(reader: Reader) -> int:
    lanes = reader.number("B", "lanes")
    reader.require(lanes in (1, 2, 4, 8, 16, 32, 64), "lanes", f"{lanes} is not allowed")
    return lanes


def read_directory(reader: Reader, count: int, lanes: int) -> Blocks:
    directory = []
    for _ in block_sizes(count):
        directory.append((reader.varint("block bytes"), reader.number("I", "block crc32c")))
    return Blocks(count, lanes, directory)


def read_stream(reader: Reader, count: int, symbols: tuple[int, int]) -> Stream:
    """Read a stream of `count` symbols up to its blocks."""
    own = reader.varint("count")
    reader.require(own == count, "count", f"{own} symbols stand where {count} are needed")
    reader.require_modest(count, "count")
    lanes = read_lanes(reader)
    segments = []
    for _ in range(reader.varint("segment_count", min(count, 1), 4096 if count else 0)):
        segments.append((reader.varint("segment length", 1), read_table(reader, symbols)))
    reader.require(sum(length for length, _ in segments) == count, "segments", "not count symbols")
    return Stream(segments, read_directory(reader, count, lanes))


# Decoders.


@dataclass(frozen=True)
class IntegerLayer:
    """A layer of the integer decoder (kernels.md, 3)."""

    weights: list[list[int]]  # of each output
    bias: list[int]
    multiplier: list[int]  # of a hidden layer
    shift: list[int]
    scale: list[float]  # of the last layer

    def accumulate(self, x: list[int]) -> list[int]:
        sums = (
            bias + sum(map(mul, row, x)) for row, bias in zip(self.weights, self.bias, strict=True)
        )
        return [(total + 2**31) % 2**32 - 2**31 for total in sums]

    def hidden(self, x: list[int]) -> list[int]:
        factors = zip(self.accumulate(x), self.multiplier, self.shift, strict=True)
        rounded = (acc * m + (1 << shift >> 1) >> shift for acc, m, shift in factors)
        return [min(max(value, 0), 127) for value in rounded]

    def last(self, x: list[int]) -> list[float]:
        outputs = zip(self.accumulate(x), self.scale, strict=True)
        return [float32(float32(acc) * scale) for acc, scale in outputs]


@dataclass(frozen=True)
class FloatLayer:
    """A layer of the float32 decoder (kernels.md, 4)."""

    weights: list[list[float]]  # of each output
    bias: list[float]

    def accumulate(self, x: list[float]) -> list[float]:
        sums = self.bias
        for i, value in enumerate(x):
            pairs = zip(self.weights, sums, strict=True)
            sums = [fma(row[i], value, total) for row, total in pairs]
        return sums

    def hidden(self, x: list[float]) -> list[float]:
        return [total if total > 0 else 0.0 for total in self.accumulate(x)]

    def last(self, x: list[float]) -> list[float]:
        return [one_nan(total) for total in self.accumulate(x)]


@dataclass(frozen=True)
class Decoder:
    """A decoder of either kind; its latents and hidden values are integers or floats."""

    integer: bool
    sizes: list[tuple[int, int]]  # inputs and outputs of each layer
    layers: list[IntegerLayer | FloatLayer]

    def read_latents(self, reader: Reader, count: int) -> Iterator[list[Any]]:
        """Read the latents of `count` chunks and give each chunk's."""
        latent = self.sizes[0][0]
        if self.integer:
            symbols = read_stream(reader, latent * count, INT8).read(reader)
            return (symbols[chunk::count] for chunk in range(count))
        values = reader.floats(latent * count, "latents")
        return (values[start : start + latent] for start in range(0, len(values), latent))

    def evaluate(self, x: list[Any]) -> list[float]:
        for layer in self.layers[:-1]:
            x = layer.hidden(x)
        return self.layers[-1].last(x)


def read_decoder(reader: Reader, integer: bool) -> Decoder:
    sizes: list[tuple[int, int]] = []
    layers: list[IntegerLayer | FloatLayer] = []
    for left in reversed(range(reader.varint("layer_count", 1, 8))):
        inputs = reader.varint("in", 1, 2**20)
        reader.require(not sizes or inputs == sizes[-1][1], "in", "not the previous layer's out")
        sizes.append((inputs, reader.varint("out", 1, 2**28 if integer and left == 0 else 2**20)))
        if integer:
            reader.require_modest(sum((i + 8) * o for i, o in sizes), "out")
            layers.append(read_integer_layer(reader, left == 0, *sizes[-1]))
        else:
            layers.append(read_float_layer(reader, *sizes[-1]))
    reader.finish()
    return Decoder(integer, sizes, layers)


def read_integer_layer(reader: Reader, last: bool, inputs: int, outputs: int) -> IntegerLayer:
    multiplier, shift, scale = [], [], []
    bias = read_parameter(reader, "i", outputs, "bias")
    if last:
        scale = reader.finite(read_parameter(reader, "I", outputs, "scale"), "scale")
    else:
        multiplier = read_parameter(reader, "i", outputs, "multiplier")
        reader.require(min(multiplier) >= 0, "multiplier", "negative")
        shift = read_parameter(reader, "B", outputs, "shift")
        reader.require(max(shift) <= 62, "shift", "above 62")
    symbols = read_stream(reader, inputs * outputs, INT8).read(reader)
    rows = [symbols[output::outputs] for output in range(outputs)]
    return IntegerLayer(rows, bias, multiplier, shift, scale)


def read_parameter(reader: Reader, code: str, outputs: int, name: str) -> list[int]:
    form = reader.number("B", name)
    if form == 0 and name == "bias":
        return [0] * outputs
    reader.require(form in (1, 2), name, f"form {form} is not allowed")
    values = list(reader.numbers(code, outputs if form == 2 else 1, name))
    return values if form == 2 else values * outputs


def read_float_layer(reader: Reader, inputs: int, outputs: int) -> FloatLayer:
    bias = reader.floats(outputs, "biases")
    weights = reader.floats(inputs * outputs, "weights")
    return FloatLayer([weights[i : i + inputs] for i in range(0, len(weights), inputs)], bias)


def read_latents(reader: Reader, decoders: Mapping[int, Decoder], elements: int) -> list[float]:
    """Read a latents section that makes so many elements, and decode it."""
    decoder = decoders.get(reader.varint("decoder"))
    if decoder is None:
        reader.fail("decoder", "not the index of a decoder")
    length = reader.varint("chunk_length", 1, 2**20)
    reader.require(length == decoder.sizes[-1][1], "chunk_length", "not the decoder's outputs")
    count = reader.varint("chunk_count", 1, 2**32)
    work = count * sum(map(math.prod, decoder.sizes))
    reader.require(work <= 2**24 * reader.file_size, "chunk_count", "too many chunks")
    latent = reader.varint("latent", 1, 65_536)
    reader.require(latent == decoder.sizes[0][0], "latent", "not the decoder's inputs")
    padding = reader.varint("padding", 0, length - 1)
    reader.require(
        count * length - padding == elements, "chunks", f"they do not make {elements} elements"
    )
    chunks = decoder.read_latents(reader, count)
    reader.finish()
    return list(itertools.chain.from_iterable(map(decoder.evaluate, chunks)))[:elements]


# Residuals (kernels.md, 7).

ROW_EXPONENTS, ROW_LEVELS, COLUMN_EXPONENTS, COLUMN_LEVELS, CODEBOOK = 1, 2, 4, 8, 16
ROOT = bits_to_float(0x3FB504F3)  # of 2
LEAST_NORMAL, GREATEST = bits_to_float(0x00800000), bits_to_float(0x7F7FFFFF)


@dataclass(frozen=True)
class Quantizer:
    """What a residual section says of one tensor, seen as a matrix."""

    rows: int
    columns: int
    step: float
    flags: int
    level: int
    first: int
    codebook: list[float]
    axes: dict[int, list[int]] = field(default_factory=dict)  # by flag

    def lengths(self) -> Iterator[tuple[int, int]]:
        """The flags and lengths of the axes that are there."""
        lengths = {
            ROW_EXPONENTS: self.rows,
            ROW_LEVELS: self.rows,
            COLUMN_EXPONENTS: self.columns,
            COLUMN_LEVELS: self.columns,
        }
        return ((flag, length) for flag, length in lengths.items() if self.flags & flag)

    def sums(self, row_flag: int, column_flag: int) -> Iterator[int]:
        """Of each element, its row's number in one axis and its column's in another one."""
        if self.rows * self.columns == 0:  # one of them may be immense
            return iter(())
        rows = self.axes.get(row_flag) or [0] * self.rows
        columns = self.axes.get(column_flag) or [0] * self.columns
        return (row + column for row in rows for column in columns)

    def scales(self, reader: Reader) -> dict[int, float]:
        """By exponent."""
        rows = self.axes.get(ROW_EXPONENTS) or [0]
        columns = self.axes.get(COLUMN_EXPONENTS) or [0]
        scales = {}
        for e in range(min(rows) + min(columns), max(rows) + max(columns) + 1):
            scales[e] = math.ldexp(float32(self.step * (ROOT if e % 2 else 1)), e // 2)
            normal = LEAST_NORMAL <= scales[e] <= GREATEST
            reader.require(normal, "step", f"the scale of exponent {e} is not a normal number")
        return scales

    def values(self, reader: Reader, symbols: Iterator[int]) -> Iterator[float]:
        scales = self.scales(reader)
        for exponent in self.sums(ROW_EXPONENTS, COLUMN_EXPONENTS):
            symbol = next(symbols)
            level = float(symbol)
            if self.flags & CODEBOOK:
                known = self.first <= symbol < self.first + len(self.codebook)
                reader.require(known, "symbol", f"{symbol} is not in the codebook")
                level = self.codebook[symbol - self.first]
            yield float32(level * scales[exponent])


def read_quantizer(reader: Reader, shape: tuple[int, ...]) -> Quantizer:
    step = reader.bfloat16s(1, "step")[0]
    reader.require(step > 0, "step", "not above 0")
    flags = reader.number("B", "flags")
    reader.require(flags < 2 * CODEBOOK, "flags", f"{flags} is not allowed")
    level = reader.varint("level", 0, 255)
    first, codebook = 0, []
    if flags & CODEBOOK:
        first = reader.zigzag("codebook first")
        reader.require(INT16[0] <= first, "codebook first", "below the range of int16")
        size = reader.varint("codebook size", 1, 4096)
        reader.require(first + size - 1 <= INT16[1], "codebook size", "above the range of int16")
        codebook = reader.bfloat16s(size, "codebook")
    rows = shape[0] if len(shape) >= 2 else 1
    columns = math.prod(shape[1:] if len(shape) >= 2 else shape)
    return Quantizer(rows, columns, step, flags, level, first, codebook)


def read_axes(reader: Reader, quantizers: list[Quantizer]) -> None:
    count = sum(length for quantizer in quantizers for _, length in quantizer.lengths())
    symbols = iter(read_stream(reader, count, AXES).read(reader))
    for quantizer in quantizers:
        for flag, length in quantizer.lengths():
            low, high = (-64, 64) if flag in (ROW_EXPONENTS, COLUMN_EXPONENTS) else (0, 255)
            axis = list(itertools.islice(symbols, length))
            inside = all(low <= symbol <= high for symbol in axis)
            reader.require(inside, "axes", f"not all are {low} to {high}")
            quantizer.axes[flag] = axis


def table_of_each(quantizers: list[Quantizer], tables: list[Table]) -> Iterator[Table]:
    for quantizer in quantizers:
        for level in quantizer.sums(ROW_LEVELS, COLUMN_LEVELS):
            yield tables[min(quantizer.level + level, len(tables) - 1)]


def read_residual(
    head: Reader,
    blocks: Reader,
    shapes: Sequence[tuple[int, ...]],
    read_base: Callable[[Reader, int], list[float]],
) -> list[float]:
    """Read a residual section; `read_base` gives the elements that a base of this number makes."""
    count = sum(map(math.prod, shapes))
    number = head.varint("base")
    base = read_base(head, number - 1) if number else None
    quantizers = [read_quantizer(head, shape) for shape in shapes]
    read_axes(head, quantizers)
    tables = [read_table(head, INT16) for _ in range(head.varint("table_count", 1, 256))]
    lanes = read_lanes(head)
    directory = read_directory(head, count, lanes)
    head.finish()
    symbols = iter(directory.read(blocks, table_of_each(quantizers, tables)))
    blocks.finish()
    values = [value for quantizer in quantizers for value in quantizer.values(head, symbols)]
    if base is not None:
        values = [float32(total) for total in map(add, base, values)]
    return [one_nan(value) for value in values]


# The lossless codec.

# Of the dtypes whose items are not their elements.
ITEM_BYTES = {"complex32": 2, "complex64": 4, "complex128": 8}
ROTATED = ("float16", "bfloat16", "float32", "float64", *ITEM_BYTES)


def read_plane(head: Reader, blocks: Reader, items: int) -> Callable[[], bytes]:
    """Read what the head has of a plane; the function returned reads the rest, behind the head."""
    form = head.number("B", "form")
    head.require(form in (0, 1), "form", f"{form} is not allowed")
    if form == 1:
        stream = read_stream(head, items, UINT8)
        if items > 4096:
            return lambda: bytes(stream.read(blocks))
        plane = bytes(stream.read(head))
    else:
        sizes = block_sizes(items)
        if items > 4096:
            crcs = head.numbers("I", len(sizes), "block crc32c")
            return lambda: b"".join(map(partial(read_block, blocks), sizes, crcs))
        plane = head.take(items, "plane")
    return lambda: plane


def read_lossless(head: Reader, blocks: Reader, sizes: Sequence[tuple[str, int]]) -> list[bytes]:
    """Read tensors of these dtypes and bytes."""
    tensors = []
    for dtype, size in sizes:
        width = ITEM_BYTES.get(dtype) or DTYPES[dtype]
        planes = [read_plane(head, blocks, size // width) for _ in range(width if size else 0)]
        tensors.append((dtype, planes))
    head.finish()
    data = [join_planes([read() for read in planes], dtype in ROTATED) for dtype, planes in tensors]
    blocks.finish()
    return data


def join_planes(planes: list[bytes], rotated: bool) -> bytes:
    items = b"".join(map(bytes, zip(*planes, strict=True)))
    if not rotated or not items:
        return items
    code, bits = {2: "H", 4: "I", 8: "Q"}[len(planes)], 8 * len(planes)
    codes = struct.unpack(f"<{len(planes[0])}{code}", items)
    return struct.pack(f"<{len(codes)}{code}", *(x >> 1 | (x & 1) << bits - 1 for x in codes))
