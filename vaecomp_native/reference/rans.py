"""rANS with interleaved states, and the symbol stream around it (docs/kernels.md, section 5).

Source of the coder: Duda, "Asymmetric numeral systems", 2013; the interleaving of states: Giesen,
"Interleaved entropy coders", 2014.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt

from vaecomp_native.reference.checks import crc32c
from vaecomp_native.reference.cursor import Cursor

Symbols = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint64]

TOTAL_BITS = 12
TOTAL = 1 << TOTAL_BITS
LOWEST_STATE = 1 << 16
BLOCK_SYMBOLS = 65_536
MAX_SEGMENTS = 4_096
LANES = (1, 2, 4, 8, 16, 32)
INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1


@dataclass(frozen=True)
class FrequencyTable:
    """The frequencies of the symbols from ``first`` on; sum 4,096, neither end zero."""

    first: int
    frequencies: tuple[int, ...]

    @cached_property
    def frequency(self) -> Words:
        """F[j], uint64 [size]."""
        return np.array(self.frequencies, np.uint64)

    @cached_property
    def start(self) -> Words:
        """S[j], the sum of the frequencies before j; uint64 [size]."""
        return np.cumsum(self.frequency) - self.frequency

    @cached_property
    def slots(self) -> npt.NDArray[np.int64]:
        """The table's index j for each of the 4,096 slots."""
        return np.repeat(np.arange(len(self.frequencies)), self.frequencies)


def frequency_table(symbols: Symbols) -> FrequencyTable:
    """The encoder's table for a segment (int32 [n], n > 0).

    Raises ValueError if the symbols' range is above 4,096.
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
    """Add 1 ``steps`` times where count / frequency is largest; ties: lowest symbol."""
    heap = [
        (Fraction(-c, f), j) for j, (c, f) in enumerate(zip(counts, frequencies, strict=True)) if c
    ]
    heapq.heapify(heap)
    for _ in range(steps):
        j = heap[0][1]
        frequencies[j] += 1
        heapq.heapreplace(heap, (Fraction(-counts[j], frequencies[j]), j))


def _lower_frequencies(frequencies: list[int], counts: list[int], steps: int) -> None:
    """Take 1 ``steps`` times where count / (frequency - 1) is smallest; ties: lowest symbol."""
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


Runs = Sequence[tuple[int, FrequencyTable]]
"""A block's symbols by table: (length, table) pairs, in order."""


def _pieces(runs: Runs, lanes: int) -> Iterator[tuple[int, int, FrequencyTable]]:
    """(position, length, table) of a block's pieces within one round of lanes and one run."""
    position = 0
    for length, table in runs:
        end = position + length
        while position < end:
            size = min(lanes - position % lanes, end - position)
            yield position, size, table
            position += size


def encode_block(symbols: Symbols, runs: Runs, lanes: int) -> bytes:
    """One block: symbols int32 [count], their tables by run, interleaved in ``lanes`` states."""
    states = np.full(lanes, LOWEST_STATE, np.uint64)
    emitted: list[npt.NDArray[np.uint64]] = []
    for position, size, table in reversed(list(_pieces(runs, lanes))):
        j = symbols[position : position + size].astype(np.int64) - table.first
        frequency, start = table.frequency[j], table.start[j]
        x = states[position % lanes :][:size]
        full = x >= frequency << np.uint64(32 - TOTAL_BITS)
        emitted.append((x[full] & np.uint64(0xFFFF))[::-1])
        x[full] >>= np.uint64(16)
        x[:] = (x // frequency << np.uint64(TOTAL_BITS)) + x % frequency + start
    words = np.concatenate([*emitted, np.empty(0, np.uint64)])[::-1]
    return states.astype("<u4").tobytes() + words.astype("<u2").tobytes()


def decode_block(cursor: Cursor, runs: Runs, lanes: int) -> Symbols:
    """One block's symbols, int32 [count]; the cursor's range is exactly the block's bytes.

    Raises ArchiveError if the bytes are no block of that many symbols.
    """
    states = cursor.array("u4", lanes, "rANS states").astype(np.uint64)
    if (states < LOWEST_STATE).any():
        cursor.fail("rANS states", "a state is below 2^16")
    count_words, odd = divmod(cursor.left, 2)
    words = cursor.array("u2", count_words, "rANS words").astype(np.uint64)
    if odd:
        cursor.fail("rANS words", "their size in bytes is odd")
    symbols = np.empty(sum(length for length, _ in runs), np.int32)
    used = 0
    for position, size, table in _pieces(runs, lanes):
        x = states[position % lanes :][:size]
        slot = x & np.uint64(TOTAL - 1)
        j = table.slots[slot]
        symbols[position : position + size] = j + table.first
        x[:] = table.frequency[j] * (x >> np.uint64(TOTAL_BITS)) + slot - table.start[j]
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


def _blocks(runs: Runs) -> Iterator[list[tuple[int, FrequencyTable]]]:
    """The runs of each block: a sequence's segments cut every 65,536 symbols."""
    block: list[tuple[int, FrequencyTable]] = []
    room = BLOCK_SYMBOLS
    for length, table in runs:
        left = length
        while left:
            size = min(left, room)
            block.append((size, table))
            left -= size
            room -= size
            if room == 0:
                yield block
                block, room = [], BLOCK_SYMBOLS
    if block:
        yield block


def varint(value: int) -> bytes:
    """An unsigned LEB128 number in its shortest form."""
    groups = []
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def automatic_lanes(count: int) -> int:
    """The encoder's choice: the most lanes that get 1,024 symbols each, at least 1."""
    return max(lanes for lanes in LANES if lanes == 1 or lanes * 1024 <= count)


def encode_symbols(symbols: Symbols, segments: Sequence[int], lanes: int = 0) -> bytes:
    """Encode symbols int32 [n] as a symbol stream with a table for each segment.

    ``segments`` are the segments' lengths; ``lanes`` is 1, 2, 4, 8, 16 or 32, or 0 for the
    encoder's choice. Raises ValueError for other lanes, for lengths that are below 1 or do not add
    up to n, for more than 4,096 segments, and if a segment's symbols span more than 4,096 values.
    """
    count = symbols.size
    if lanes not in (0, *LANES):
        raise ValueError(f"lanes is {lanes}; it must be 0 or one of {LANES}")
    if min(segments, default=1) < 1 or sum(segments) != count:
        raise ValueError(f"segments must be at least 1 long and add up to the {count} symbols")
    if len(segments) > MAX_SEGMENTS:
        raise ValueError(f"there are {len(segments)} segments; at most {MAX_SEGMENTS} are allowed")
    lanes = lanes or automatic_lanes(count)
    borders = np.cumsum([0, *segments])
    runs = [
        (length, frequency_table(symbols[start : start + length]))
        for start, length in zip(borders, segments, strict=False)
    ]
    head = [varint(count), bytes([lanes]), varint(len(runs))]
    for length, table in runs:
        zigzag = 2 * table.first if table.first >= 0 else -2 * table.first - 1
        head += map(varint, (length, zigzag, len(table.frequencies), *table.frequencies))
    blocks = [
        encode_block(symbols[start : start + BLOCK_SYMBOLS], block, lanes)
        for start, block in zip(range(0, count, BLOCK_SYMBOLS), _blocks(runs), strict=True)
    ]
    head += [varint(len(block)) + struct.pack("<I", crc32c(block)) for block in blocks]
    return b"".join(head + blocks)


def _read_table(cursor: Cursor, low: int, high: int) -> FrequencyTable:
    """One segment's frequency table, for symbols in [low, high]."""
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


def read_stream(
    cursor: Cursor, low: int = INT32_MIN, high: int = INT32_MAX, expected: int | None = None
) -> Symbols:
    """Read the symbol stream at the cursor: int32 [count], symbols in [low, high].

    Raises ArchiveError for anything that docs/format.md forbids, or for another count than the
    expected one.
    """
    count = cursor.varint("symbol count")
    if expected not in (None, count):
        cursor.fail("symbol count", f"{count} symbols stand where {expected} are needed")
    lanes = cursor.unpack("B", "lanes")
    if lanes not in LANES:
        cursor.fail("lanes", f"{lanes} is none of {LANES}")
    segment_count = cursor.varint("segment count", high=MAX_SEGMENTS)
    if (segment_count == 0) != (count == 0):
        cursor.fail("segment count", f"{segment_count} segments for {count} symbols")
    runs: list[tuple[int, FrequencyTable]] = []
    left = count
    for _ in range(segment_count):
        length = cursor.varint("segment length", 1, left)
        left -= length
        runs.append((length, _read_table(cursor, low, high)))
    if left:
        cursor.fail("segment length", f"the segments are {left} symbols short of the count")
    block_count = -(-count // BLOCK_SYMBOLS)
    entries = []
    for _ in range(block_count):
        entries.append((cursor.varint("block size"), cursor.unpack("I", "block CRC-32C")))
    parts = [np.empty(0, np.int32)]
    for (size, crc), block in zip(entries, _blocks(runs), strict=True):
        if crc32c(cursor.take(size, "block")) != crc:
            cursor.fail("block", "its CRC-32C does not match")
        parts.append(decode_block(cursor.last_taken(), block, lanes))
    return np.concatenate(parts)


def decode_symbols(data: bytes) -> Symbols:
    """Decode a whole symbol stream to int32 [n]; ArchiveError if the bytes are none."""
    cursor = Cursor(bytes(data))
    symbols = read_stream(cursor)
    cursor.finish("symbol stream")
    return symbols
