"""rANS with interleaved states, and the symbol stream around it (docs/kernels.md, section 5).

Sources: Duda, "Asymmetric numeral systems", 2013, for the coder, and Giesen, "Interleaved entropy
coders", 2014, for the interleaved states.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.reference.checks import crc32c
from vaecomp_native.reference.cursor import Cursor

Symbols = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint64]
Contexts = npt.NDArray[Any]
"""The number of each symbol's table."""

TOTAL_BITS = 12
TOTAL = 1 << TOTAL_BITS
LOWEST_STATE = 1 << 16
BLOCK_SYMBOLS = 131_072
MAX_SEGMENTS = 4_096
MAX_TABLES = 256
LANES = (1, 2, 4, 8, 16, 32, 64)
INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1


@dataclass(frozen=True)
class FrequencyTable:
    """The frequencies of the symbols from ``first`` on.

    Their sum is 4,096. The first and the last one are not zero.
    """

    first: int
    frequencies: tuple[int, ...]


class Tables:
    """Frequency tables one behind another, with an entry for each symbol of each table.

    ``first`` and ``offset`` are each table's first symbol and first entry. Each entry has its
    ``frequency``, its ``symbol``, and ``start``, the sum of the table's frequencies before it.
    """

    def __init__(self, tables: Sequence[FrequencyTable]) -> None:
        sizes = np.array([len(table.frequencies) for table in tables], np.int64)
        numbers = np.repeat(np.arange(len(tables)), sizes)
        self.first = np.array([table.first for table in tables], np.int64)
        self.offset = np.cumsum(sizes) - sizes
        self.symbol = np.arange(sizes.sum()) - (self.offset - self.first)[numbers]
        flat = [frequency for table in tables for frequency in table.frequencies]
        self.frequency = np.array(flat, np.uint64)
        # Every table's frequencies add up to 4,096, so all slots form one ascending sequence.
        self.slots = np.cumsum(self.frequency) - self.frequency
        self.start = self.slots - numbers.astype(np.uint64) * np.uint64(TOTAL)

    def entries_of_symbols(self, symbols: Symbols, contexts: Contexts) -> npt.NDArray[np.int64]:
        """Find the entry of each symbol in the table that its context names."""
        entries: npt.NDArray[np.int64] = (self.offset - self.first)[contexts] + symbols
        return entries

    def entries_of_slots(self, slots: Words, contexts: Contexts) -> npt.NDArray[np.int64]:
        """Find the entry that each slot belongs to in the table that its context names."""
        keys = contexts.astype(np.uint64) * np.uint64(TOTAL) + slots
        # If several entries start at the same slot, all but the last have the frequency 0.
        entries: npt.NDArray[np.int64] = np.searchsorted(self.slots, keys, side="right") - 1
        return entries


def frequency_table(symbols: Symbols) -> FrequencyTable:
    """Make the encoder's table for a segment, int32 [n] with n > 0.

    Raises ValueError if the symbols span more than 4,096 values.
    """
    first, last = int(symbols.min()), int(symbols.max())
    if last - first >= TOTAL:
        raise ValueError(f"symbols from {first} to {last} span more than {TOTAL} values")
    counts = np.bincount(symbols.astype(np.int64) - first).tolist()
    frequencies = [max(1, c * TOTAL // symbols.size) if c else 0 for c in counts]
    missing = TOTAL - sum(frequencies)
    if missing > 0:
        _raise_frequencies(frequencies, counts, missing)
    else:
        _lower_frequencies(frequencies, counts, -missing)
    return FrequencyTable(first, tuple(frequencies))


def _raise_frequencies(frequencies: list[int], counts: list[int], steps: int) -> None:
    """Add 1 ``steps`` times where count / frequency is largest. The lowest symbol wins a tie."""
    heap = [
        (Fraction(-c, f), j) for j, (c, f) in enumerate(zip(counts, frequencies, strict=True)) if c
    ]
    heapq.heapify(heap)
    for _ in range(steps):
        j = heap[0][1]
        frequencies[j] += 1
        heapq.heapreplace(heap, (Fraction(-counts[j], frequencies[j]), j))


def _lower_frequencies(frequencies: list[int], counts: list[int], steps: int) -> None:
    """Take 1 off ``steps`` times where count / (frequency - 1) is smallest.

    The lowest symbol wins a tie.
    """
    heap = [
        (Fraction(c, f - 1), j)
        for j, (c, f) in enumerate(zip(counts, frequencies, strict=True))
        if f > 1
    ]
    heapq.heapify(heap)
    for _ in range(steps):
        _, j = heapq.heappop(heap)
        frequencies[j] -= 1
        if frequencies[j] > 1:
            heapq.heappush(heap, (Fraction(counts[j], frequencies[j] - 1), j))


def code_length(tables: Tables, symbols: Symbols, contexts: Contexts) -> int:
    """Compute the symbols' size with their tables in 1/256 of a bit.

    A symbol of frequency F takes 3072 - floor(256 log2 F).
    """
    counts = np.bincount(
        tables.entries_of_symbols(symbols, contexts), minlength=tables.frequency.size
    )
    # floor(256 log2 F) is one less than the number of bits of F^256.
    return sum(
        count * (256 * TOTAL_BITS + 1 - (frequency**256).bit_length())
        for count, frequency in zip(counts.tolist(), tables.frequency.tolist(), strict=True)
        if count
    )


def _rounds(count: int, lanes: int) -> Iterator[slice]:
    """Yield the symbols of a block, one round of lanes at a time."""
    for position in range(0, count, lanes):
        yield slice(position, min(position + lanes, count))


def encode_block(symbols: Symbols, contexts: Contexts, tables: Tables, lanes: int) -> bytes:
    """Encode one block with ``lanes`` interleaved states.

    ``symbols`` are int32 [count], and ``contexts`` [count] are the numbers of their tables.
    """
    states = np.full(lanes, LOWEST_STATE, np.uint64)
    emitted: list[Words] = []
    for part in reversed(list(_rounds(symbols.size, lanes))):
        entries = tables.entries_of_symbols(symbols[part], contexts[part])
        frequency, start = tables.frequency[entries], tables.start[entries]
        x = states[: entries.size]
        full = x >= frequency << np.uint64(32 - TOTAL_BITS)
        emitted.append((x[full] & np.uint64(0xFFFF))[::-1])
        x[full] >>= np.uint64(16)
        x[:] = (x // frequency << np.uint64(TOTAL_BITS)) + x % frequency + start
    words = np.concatenate([*emitted, np.empty(0, np.uint64)])[::-1]
    return states.astype("<u4").tobytes() + words.astype("<u2").tobytes()


def decode_block(cursor: Cursor, contexts: Contexts, tables: Tables, lanes: int) -> Symbols:
    """Decode one block's symbols, int32 [count]; the cursor's range is exactly the block's bytes.

    ``contexts`` [count] are the numbers of the symbols' tables. Raises ArchiveError if the bytes
    are not a block of that many symbols.
    """
    states = cursor.array("u4", lanes, "rANS states").astype(np.uint64)
    if (states < LOWEST_STATE).any():
        cursor.fail("rANS states", "a state is below 2^16")
    count_words, odd = divmod(cursor.left, 2)
    words = cursor.array("u2", count_words, "rANS words").astype(np.uint64)
    if odd:
        cursor.fail("rANS words", "their size in bytes is odd")
    symbols = np.empty(contexts.size, np.int32)
    used = 0
    for part in _rounds(contexts.size, lanes):
        x = states[: contexts[part].size]
        slot = x & np.uint64(TOTAL - 1)
        entries = tables.entries_of_slots(slot, contexts[part])
        symbols[part] = tables.symbol[entries]
        x[:] = (
            tables.frequency[entries] * (x >> np.uint64(TOTAL_BITS)) + slot - tables.start[entries]
        )
        low = np.flatnonzero(x < LOWEST_STATE)
        if used + low.size > words.size:
            cursor.fail("rANS words", "the block ends before its last symbol")
        x[low] = x[low] << np.uint64(16) | words[used : used + low.size]
        used += low.size
    if used != words.size:
        cursor.fail("rANS words", f"{words.size - used} words are left over")
    if (states != LOWEST_STATE).any():
        cursor.fail("rANS states", "a state does not end at 2^16")
    return symbols


def encode_blocks(
    symbols: Symbols, contexts: Contexts, tables: Tables, lanes: int
) -> tuple[bytes, bytes]:
    """Encode blocks and their directory; ``contexts`` [n] are the numbers of the symbols' tables.

    Returns the directory and the blocks.
    """
    blocks = [
        encode_block(symbols[part], contexts[part], tables, lanes)
        for part in _rounds(symbols.size, BLOCK_SYMBOLS)
    ]
    directory = [varint(len(block)) + struct.pack("<I", crc32c(block)) for block in blocks]
    return b"".join(directory), b"".join(blocks)


def block_parts(count: int) -> list[slice]:
    """Return the range of symbols of each block."""
    return list(_rounds(count, BLOCK_SYMBOLS))


def take_block(cursor: Cursor, size: int, crc: int) -> bytes:
    """Read the next block's bytes and compare them with their checksum."""
    block = cursor.take(size, "block")
    if crc32c(block) != crc:
        cursor.fail("block", "its CRC-32C does not match")
    return block


def read_directory(head: Cursor, parts: Sequence[slice]) -> list[tuple[int, int]]:
    """Read the size and the checksum of each block."""
    return [(head.varint("block size"), head.unpack("I", "block CRC-32C")) for _ in parts]


def read_blocks(
    head: Cursor, payload: Cursor, contexts: Contexts, tables: Tables, lanes: int
) -> Symbols:
    """Decode the output of ``encode_blocks`` to int32 [n].

    ``contexts`` [n] are the numbers of the symbols' tables. ``head`` and ``payload`` are the same
    cursor if the blocks stand right behind their directory.
    """
    parts = block_parts(contexts.size)
    directory = read_directory(head, parts)
    symbols = np.empty(contexts.size, np.int32)
    for (size, crc), part in zip(directory, parts, strict=True):
        take_block(payload, size, crc)
        symbols[part] = decode_block(payload.last_taken(), contexts[part], tables, lanes)
    return symbols


def varint(value: int) -> bytes:
    """Encode an unsigned LEB128 number in its shortest form."""
    groups = []
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def write_table(table: FrequencyTable) -> bytes:
    """Encode a frequency table."""
    zigzag = 2 * table.first if table.first >= 0 else -2 * table.first - 1
    return b"".join(map(varint, (zigzag, len(table.frequencies), *table.frequencies)))


def automatic_lanes(count: int, length: int) -> int:
    """Choose the largest number of lanes that get 512 bytes each of a block, at least 1.

    ``length`` is the size of all ``count`` symbols in 1/256 of a bit. A block has 131,072 symbols,
    or all if there are fewer.
    """
    block_length = Fraction(length * min(count, BLOCK_SYMBOLS), max(count, 1))
    return max(lanes for lanes in LANES if lanes == 1 or lanes * 512 * 8 * 256 <= block_length)


def encode_symbols(symbols: Symbols, segments: Sequence[int], lanes: int = 0) -> bytes:
    """Encode a symbol stream in one piece; arguments and errors as for ``encode_stream``."""
    return b"".join(encode_stream(symbols, segments, lanes))


def encode_stream(
    symbols: Symbols, segments: Sequence[int], lanes: int = 0
) -> tuple[bytes, bytes, bytes]:
    """Encode symbols int32 [n] as a symbol stream with a table for each segment.

    ``segments`` are the segments' lengths. ``lanes`` is 1, 2, 4, ... 64, or 0 for the encoder's
    choice. Returns the stream's parts: tables, the blocks' directory, the blocks. Raises ValueError
    for other lanes, for lengths that are below 1 or do not add up to n, for more than 4,096
    segments, and if a segment's symbols span more than 4,096 values.
    """
    count = symbols.size
    if lanes not in (0, *LANES):
        raise ValueError(f"lanes is {lanes}; it must be 0 or one of {LANES}")
    if min(segments, default=1) < 1 or sum(segments) != count:
        raise ValueError(f"segments must be at least 1 long and add up to the {count} symbols")
    if len(segments) > MAX_SEGMENTS:
        raise ValueError(f"there are {len(segments)} segments; at most {MAX_SEGMENTS} are allowed")
    borders = np.cumsum([0, *segments])
    separate = [
        frequency_table(symbols[start : start + length])
        for start, length in zip(borders, segments, strict=False)
    ]
    tables = Tables(separate)
    contexts = np.repeat(np.arange(len(segments)), segments)
    lanes = lanes or automatic_lanes(count, code_length(tables, symbols, contexts))
    head = [varint(count), bytes([lanes]), varint(len(segments))]
    head += [
        varint(length) + write_table(table)
        for length, table in zip(segments, separate, strict=True)
    ]
    return b"".join(head), *encode_blocks(symbols, contexts, tables, lanes)


def read_table(cursor: Cursor, low: int, high: int) -> FrequencyTable:
    """Read a frequency table for symbols in [low, high]."""
    first = cursor.zigzag("first symbol", low, high)
    size = cursor.varint("table size", 1, TOTAL)
    if first + size - 1 > high:
        cursor.fail("table size", f"the last symbol, {first + size - 1}, is above {high}")
    frequencies = tuple(cursor.varint("frequency", high=TOTAL) for _ in range(size))
    if sum(frequencies) != TOTAL:
        cursor.fail("frequency", f"the frequencies add up to {sum(frequencies)}, not {TOTAL}")
    if 0 in (frequencies[0], frequencies[-1]):
        cursor.fail("frequency", "the table's first or last frequency is zero")
    return FrequencyTable(first, frequencies)


def read_lanes(cursor: Cursor) -> int:
    """Read the number of interleaved states."""
    lanes = cursor.unpack("B", "lanes")
    if lanes not in LANES:
        cursor.fail("lanes", f"{lanes} is none of {LANES}")
    return lanes


def read_tables(head: Cursor, low: int, high: int) -> tuple[int, Tables, int]:
    """Read a number of tables, these for symbols in [low, high], and the number of lanes."""
    count = head.varint("table count", 1, MAX_TABLES)
    tables = Tables([read_table(head, low, high) for _ in range(count)])
    return count, tables, read_lanes(head)


def read_stream(
    cursor: Cursor,
    low: int = INT32_MIN,
    high: int = INT32_MAX,
    expected: int | None = None,
    payload: Cursor | None = None,
) -> Symbols:
    """Read the symbol stream at the cursor: int32 [count], symbols in [low, high].

    The blocks stand at ``payload`` if that is given. Raises ArchiveError for anything that
    docs/format.md forbids, and for another count than the expected one.
    """
    count = cursor.varint("symbol count")
    if expected not in (None, count):
        cursor.fail("symbol count", f"{count} symbols stand where {expected} are needed")
    lanes = read_lanes(cursor)
    segment_count = cursor.varint("segment count", high=MAX_SEGMENTS)
    if (segment_count == 0) != (count == 0):
        cursor.fail("segment count", f"{segment_count} segments for {count} symbols")
    lengths: list[int] = []
    tables: list[FrequencyTable] = []
    left = count
    for _ in range(segment_count):
        lengths.append(cursor.varint("segment length", 1, left))
        left -= lengths[-1]
        tables.append(read_table(cursor, low, high))
    if left:
        cursor.fail("segment length", f"the segments are {left} symbols short of the count")
    # A block takes at least 5 bytes of the directory. Checking this first allocates no memory for
    # symbols that cannot be there.
    if -(-count // BLOCK_SYMBOLS) * 5 > cursor.left:
        cursor.fail("block size", f"{cursor.left} bytes are left for {count} symbols")
    contexts = np.repeat(np.arange(segment_count), lengths)
    return read_blocks(cursor, payload or cursor, contexts, Tables(tables), lanes)


def decode_symbols(data: bytes) -> Symbols:
    """Decode a whole symbol stream to int32 [n].

    Raises ArchiveError if the bytes are not a symbol stream.
    """
    cursor = Cursor(bytes(data))
    symbols = read_stream(cursor)
    cursor.finish("symbol stream")
    return symbols
