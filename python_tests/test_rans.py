"""Symbol streams: round trips, equality with the reference, sizes, and refused bytes."""

from __future__ import annotations

import struct
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaecomp_native import kernels, reference
from vaecomp_native.errors import ArchiveError
from vaecomp_native.reference.rans import LANES, varint

from .samples import generators

Symbols = npt.NDArray[np.int32]


def random_symbols(rng: np.random.Generator, count: int) -> Symbols:
    """Symbols of one of several distributions, some at int32's ends."""
    width = int(rng.choice([1, 2, 3, 40, 256, 4096]))
    kind = rng.integers(4)
    if kind == 0:
        values = rng.integers(0, width, count)
    elif kind == 1:
        values = np.clip(
            np.rint(rng.standard_normal(count) * width / 6), -width // 2, width // 2 - 1
        )
    elif kind == 2:
        values = np.minimum(rng.geometric(0.9, count), width) - 1
    else:  # one frequent symbol and many that are seen once
        values = np.where(rng.random(count) < 0.9, 0, rng.integers(0, width, count))
    offset = int(rng.choice([0, -128, 2**31 - 1 - width, -(2**31) + 2048]))
    return (values + offset).astype(np.int32)


@st.composite
def segmented_symbols(draw: st.DrawFn) -> tuple[Symbols, list[int]]:
    """Symbols and the lengths of their segments, each with a distribution of its own."""
    rng = draw(generators)
    segments = draw(st.lists(st.one_of(st.integers(1, 40), st.integers(1, 4000)), max_size=6))
    parts = [random_symbols(rng, length) for length in segments]
    return np.concatenate([np.empty(0, np.int32), *parts]), segments


def assert_coded_alike(symbols: Symbols, segments: list[int], lanes: int) -> None:
    """The native coder and the reference make the same stream and read it back."""
    stream = kernels.encode_symbols(symbols, segments, lanes=lanes)
    assert stream == reference.encode_symbols(symbols, segments, lanes)
    decoded = kernels.decode_symbols(stream)
    assert decoded.dtype == np.int32
    assert decoded.tobytes() == symbols.tobytes()
    assert reference.decode_symbols(stream).tobytes() == symbols.tobytes()


@pytest.mark.parametrize("lanes", [16, 32])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 15, 17, 29, 31, 32, 33, 256, 257])
def test_alphabets_of_every_size_decode_on_every_path(isa: str, size: int, lanes: int) -> None:
    """Small ones are searched in registers, up to 256 symbols lie beside their frequencies."""
    rng = np.random.default_rng(size)
    # Frequent symbols, rare ones and such that are seen once.
    shares = np.maximum(rng.random(size) ** 6, 1e-4)
    symbols = rng.choice(size, 5000, p=shares / shares.sum())
    symbols[rng.choice(5000, size, replace=False)] = np.arange(size)
    symbols = (symbols - size // 3).astype(np.int32)
    stream = kernels.encode_symbols(symbols, [3000, 2000], lanes=lanes)
    assert kernels.decode_symbols(stream).tobytes() == symbols.tobytes()
    assert reference.decode_symbols(stream).tobytes() == symbols.tobytes()


def test_symbols_are_written_to_the_array_given() -> None:
    symbols = np.arange(100, dtype=np.int32) % 7
    stream = kernels.encode_symbols(symbols, [100])
    out = np.zeros(100, np.int32)
    assert kernels.decode_symbols(stream, out=out) is out
    assert out.tobytes() == symbols.tobytes()
    for bad in (np.zeros(99, np.int32), np.zeros(100, np.int64), np.zeros(200, np.int32)[::2]):
        with pytest.raises(ValueError, match="output array"):
            kernels.decode_symbols(stream, out=bad)


@given(sample=segmented_symbols(), lanes=st.sampled_from([0, *LANES]))
def test_native_equals_reference(isa: str, sample: tuple[Symbols, list[int]], lanes: int) -> None:
    assert_coded_alike(*sample, lanes)


@pytest.mark.parametrize(
    "count", [131_071, 131_072, 131_073, pytest.param(262_145, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("lanes", [0, 8])
def test_block_borders(isa: str, count: int, lanes: int) -> None:
    symbols = np.rint(np.random.default_rng(count).standard_normal(count) * 9).astype(np.int32)
    assert_coded_alike(symbols, [count], lanes)
    assert_coded_alike(symbols, [131_066, count - 131_066], lanes)


@pytest.mark.parametrize("scale", [0.2, 1.0, 30.0])
@pytest.mark.parametrize("count", [1, 300, 3000, 40_000, 140_000])
def test_automatic_lanes_cost_a_hundredth_at_most(count: int, scale: float) -> None:
    rng = np.random.default_rng(count)
    symbols = np.rint(rng.standard_normal(count) * scale).astype(np.int32)
    stream = kernels.encode_symbols(symbols, [count])
    lanes = stream[len(varint(count))]
    shares = np.unique(symbols, return_counts=True)[1] / count
    block_bytes = -(shares * np.log2(shares)).sum() * min(count, 131_072) / 8
    assert lanes == 1 or 4 * lanes < 0.01 * block_bytes
    assert lanes == 64 or 2 * lanes * 512 > 0.95 * block_bytes
    assert stream == reference.encode_symbols(symbols, [count])


def test_no_symbols(isa: str) -> None:
    assert_coded_alike(np.empty(0, np.int32), [], 0)


@pytest.mark.parametrize("value", [0, -128, 127, -(2**31), 2**31 - 1])
@pytest.mark.parametrize("count", [1, 31, 140_000])
def test_a_single_symbol_takes_no_words(isa: str, value: int, count: int) -> None:
    assert_coded_alike(np.full(count, value, np.int32), [count], 32)
    stream = kernels.encode_symbols(np.full(count, value, np.int32), [count], lanes=32)
    assert len(stream) < 300


def test_many_segments(isa: str) -> None:
    rng = np.random.default_rng(8)
    segments = rng.integers(1, 40, 4096).tolist()
    symbols = rng.integers(-3, 3, sum(segments)).astype(np.int32)
    assert_coded_alike(symbols, segments, 0)


def test_every_value_of_the_widest_table(isa: str) -> None:
    symbols = np.random.default_rng(1).permutation(np.arange(-2048, 2048)).astype(np.int32)
    assert_coded_alike(symbols, [4096], 0)
    # One value is so frequent that the others' frequencies of 1 have to be taken from it.
    assert_coded_alike(np.concatenate([symbols, np.zeros(500_000, np.int32)]), [504_096], 0)


@pytest.mark.parametrize("scale", [0.4, 3.0, 20.0])
def test_size_is_close_to_the_entropy(scale: float) -> None:
    count = 131_072
    symbols = np.rint(np.random.default_rng(5).standard_normal(count) * scale).astype(np.int32)
    shares = np.unique(symbols, return_counts=True)[1] / count
    entropy_bytes = -(shares * np.log2(shares)).sum() * count / 8
    table_and_states = 2 * shares.size + 2 * (32 * 4 + 8) + 16
    stream = kernels.encode_symbols(symbols, [count])
    assert len(stream) < entropy_bytes * 1.002 + table_and_states


@pytest.mark.parametrize("module", [kernels, reference])
def test_unusable_arguments_are_refused(module: ModuleType) -> None:
    symbols = np.arange(10, dtype=np.int32)
    for lanes in (3, 128):
        with pytest.raises(ValueError, match="lanes"):
            module.encode_symbols(symbols, [10], lanes=lanes)
    for segments in ([9], [11], [], [10, 0], [2**64 - 5, 15]):
        with pytest.raises(ValueError, match="segments"):
            module.encode_symbols(symbols, segments)
    with pytest.raises(ValueError, match="segments"):
        module.encode_symbols(np.zeros(4097, np.int32), [1] * 4097)
    for first, last in ((0, 4096), (-(2**31), 2**31 - 1)):
        with pytest.raises(ValueError, match="span"):
            module.encode_symbols(np.array([first, last], np.int32), [2])


def assert_refused_alike(data: bytes) -> None:
    """Both decoders raise ArchiveError."""
    with pytest.raises(ArchiveError):
        reference.decode_symbols(data)
    with pytest.raises(ArchiveError):
        kernels.decode_symbols(data)


def outcome(module: ModuleType, data: bytes) -> bytes | None:
    """The decoded symbols' bytes, or None if the stream is refused."""
    try:
        return bytes(module.decode_symbols(data).tobytes())
    except ArchiveError:
        return None


@given(
    sample=segmented_symbols(),
    lanes=st.sampled_from(LANES),
    changes=st.lists(st.tuples(st.integers(0, 2**32), st.integers(1, 255)), min_size=1, max_size=3),
)
def test_changed_bytes_give_the_same_outcome(
    isa: str, sample: tuple[Symbols, list[int]], lanes: int, changes: list[tuple[int, int]]
) -> None:
    stream = bytearray(kernels.encode_symbols(*sample, lanes=lanes))
    for position, change in changes:
        # Half of the changes hit the first bytes, where the counts and tables are.
        limit = len(stream) if position % 2 else min(len(stream), 64)
        stream[position // 2 % limit] ^= change
    assert outcome(kernels, bytes(stream)) == outcome(reference, bytes(stream))


def test_every_truncation_and_an_extension_are_refused(isa: str) -> None:
    symbols = (np.arange(300) % 5).astype(np.int32)
    stream = kernels.encode_symbols(symbols, [100, 200], lanes=2)
    for length in range(len(stream)):
        assert_refused_alike(stream[:length])
    assert_refused_alike(stream + b"\0")


TABLE = reference.FrequencyTable(-1, (1000, 0, 3096))
SYMBOLS = np.where(np.arange(500) % 4, 1, -1).astype(np.int32)
BLOCK = reference.encode_block(SYMBOLS, np.zeros(500, np.int64), reference.Tables([TABLE]), 4)


def stream_of(block: bytes, count: int = 500, lanes: int = 4, table: bytes | None = None) -> bytes:
    """A stream of one segment and one block with the right CRC-32C, whatever the block is."""
    if table is None:
        table = b"".join(map(varint, (1, 3, *TABLE.frequencies)))
    head = varint(count) + bytes([lanes]) + varint(1) + varint(count) + table
    return head + varint(len(block)) + struct.pack("<I", reference.crc32c(block)) + block


def test_the_hand_made_stream_is_valid(isa: str) -> None:
    assert kernels.decode_symbols(stream_of(BLOCK)).tobytes() == SYMBOLS.tobytes()
    assert reference.decode_symbols(stream_of(BLOCK)).tobytes() == SYMBOLS.tobytes()


@given(position=st.integers(0, len(BLOCK) - 1), change=st.integers(1, 255))
def test_a_changed_block_with_a_right_crc_gives_the_same_outcome(
    isa: str, position: int, change: int
) -> None:
    block = bytearray(BLOCK)
    block[position] ^= change
    data = stream_of(bytes(block))
    assert outcome(kernels, data) == outcome(reference, data)


@pytest.mark.parametrize(
    "block",
    [
        BLOCK + b"\0\0",  # a word too many
        BLOCK[:-2],  # a word too few
        BLOCK[:-1],  # half a word
        BLOCK[:15],  # not all states
        b"",
        struct.pack("<I", 0xFFFF) + BLOCK[4:],  # a state below 2^16
        BLOCK[:4] + struct.pack("<I", 0) + BLOCK[8:],
    ],
)
def test_invalid_blocks_are_refused(isa: str, block: bytes) -> None:
    assert_refused_alike(stream_of(block))


@pytest.mark.parametrize(("count", "lanes"), [(499, 4), (501, 4), (500, 2), (500, 8)])
def test_a_block_of_another_size_is_refused(isa: str, count: int, lanes: int) -> None:
    assert_refused_alike(stream_of(BLOCK, count, lanes))


@pytest.mark.parametrize("lanes", [0, 3, 33, 128, 255])
def test_other_lanes_are_refused(isa: str, lanes: int) -> None:
    block = struct.pack("<I", 1 << 16) * lanes
    table = b"".join(map(varint, (0, 1, 4096)))
    assert_refused_alike(stream_of(block, 1, lanes, table))


@pytest.mark.parametrize(
    "table",
    [
        (1, 0),  # no symbol
        (1, 4097, *[1] * 4096, 0),  # too many
        (1, 2, 4096, 0),  # zero at an end
        (1, 3, 0, 1000, 3096),
        (1, 3, 1000, 0, 3095),  # another sum
        (1, 3, 1000, 0, 3097),
        (1, 2, 2**32 + 1000, 3096),  # the right sum modulo 2^32
        (1, 2, 2**64 - 1, 4097),  # the right sum modulo 2^64
        (2**32 - 2, 2, 1000, 3096),  # first is 2^31 - 1, the second symbol is above int32
        (2**32, 3, 1000, 0, 3096),  # first is 2^31
        (2**32 + 1, 3, 1000, 0, 3096),  # first is -2^31 - 1
    ],
)
def test_invalid_tables_are_refused(isa: str, table: tuple[int, ...]) -> None:
    assert_refused_alike(stream_of(BLOCK, table=b"".join(map(varint, table))))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x00\x01",
        b"\x00\x01\x01\x00",  # no symbols, but a segment
        b"\x00\x03\x00",  # no symbols, but impossible lanes
        b"\x80\x00\x01\x00",  # a varint that is not in its shortest form
        b"\x01\x01\x00",  # a symbol, but no segment
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01\x00",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\x01\x00",  # 65 bits
        b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\x01\x00",  # 11 bytes
        stream_of(BLOCK)[:3] + varint(4097) + stream_of(BLOCK)[4:],  # too many segments
        stream_of(BLOCK, count=2**40),
        stream_of(BLOCK, count=2**63),
        stream_of(BLOCK, count=2**64 - 1),
    ],
)
def test_invalid_heads_are_refused(isa: str, data: bytes) -> None:
    assert_refused_alike(data)


def test_segments_have_to_add_up(isa: str) -> None:
    table = b"".join(map(varint, (0, 1, 4096)))
    block = struct.pack("<I", 1 << 16)
    tail = varint(4) + struct.pack("<I", reference.crc32c(block)) + block
    for lengths, valid in (
        ((4, 6), True),
        ((4, 5), False),
        ((4, 7), False),
        ((10, 0), False),
        ((11, 2**64 - 1), False),
    ):
        head = varint(10) + b"\x01" + varint(2)
        data = head + b"".join(varint(length) + table for length in lengths) + tail
        expected = bytes(40) if valid else None
        assert outcome(kernels, data) == outcome(reference, data) == expected
