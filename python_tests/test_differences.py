"""Exact sections: members bit for bit, as differences from what their pack predicts."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vaecomp_native as vc
from vaecomp_native import _core
from vaecomp_native.codecs.differences import encode_differences, units_in_last_place
from vaecomp_native.decoders import IntegerLayer
from vaecomp_native.kernels import digest
from vaecomp_native.reference.archive import decode as reference_decode
from vaecomp_native.reference.checks import crc32c
from vaecomp_native.reference.rans import Tables, encode_blocks, varint, write_table

from .archive_writer import frequency_tables, joined, zigzag
from .fleets import Arrays, make_difference_member, make_pack, moved

Array = npt.NDArray[Any]
DTYPES = [np.dtype(name) for name in ("float16", ml_dtypes.bfloat16, "float32", "float64")]
LATENTS = np.array([3, -5], np.int8)
BLOCK = 131_072
# Both zeros, the least and the greatest magnitudes of each kind, and NaNs, by the bits of exponent and mantissa.
FIELDS = {"float16": (5, 10), "bfloat16": (8, 7), "float32": (8, 23), "float64": (11, 52)}


def special_words(dtype: np.dtype[Any]) -> list[int]:
    exponent, mantissa = FIELDS[dtype.name]
    infinity = ((1 << exponent) - 1) << mantissa
    sign = 1 << (exponent + mantissa)
    positive = [0, 1, (1 << mantissa) - 1, 1 << mantissa, infinity - 1, infinity, infinity + 1]
    return [word | s for word in [*positive, sign - 1] for s in (0, sign)]


def words(dtype: np.dtype[Any]) -> st.SearchStrategy[int]:
    """Any bits of a float, the special ones often."""
    every = st.integers(0, (1 << (8 * dtype.itemsize)) - 1)
    return st.one_of(st.sampled_from(special_words(dtype)), every)


def floats(values: npt.ArrayLike, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    return np.array(values, np.uint64).astype(f"u{dtype.itemsize}").view(dtype).reshape(shape)


class Pack:
    """A pack of some tensors; with latents two of them, which a linear decoder adds to all."""

    def __init__(self, arrays: Arrays, with_latents: bool = False) -> None:
        self.arrays = arrays
        sections: list[tuple[str, bytes]] = [
            ("lossless", _core.encode_lossless(list(arrays.values())))
        ]
        groups = []
        count = max(sum(array.size for array in arrays.values()), 1)
        if with_latents:
            weight = np.random.default_rng(4).integers(-9, 10, (count, 2)).astype(np.int8)
            scale = np.full(count, 2.0**-12, np.float32)
            layer = IntegerLayer(weight, np.zeros(count, np.int32), scale=scale)
            coded = _core.encode_integer_decoder([layer.arrays()], [[weight.size]])
            sections.append(("integer_decoder", coded))
            every = list(range(len(arrays)))
            groups = [(1, count, [(0, 2)], every, np.zeros((1, 0), np.int8))]
        segments = [(2, -128, [1] * 256)] if with_latents else []
        sections.append(("fleet", _core.encode_fleet(segments, groups)))
        rows = [(n, "lossless", a.shape, a.dtype, 0, digest(a)) for n, a in arrays.items()]
        self.data = _core.write_archive([], sections, rows)
        self.reader = _core.ArchiveReader(self.data)
        self.with_latents = with_latents

    def predicted(self) -> Arrays:
        """What a member with the latents has for codec member."""
        if not self.with_latents:
            return self.arrays
        data = self.member([], [("member", 0)] * len(self.arrays), None)
        return dict(vc.open(data, pack=self.data, verify=False).decode())

    def member(
        self,
        sections: list[tuple[str, bytes]],
        homes: Sequence[tuple[str, int] | None],
        arrays: Arrays | None,
    ) -> bytes:
        """A member; without arrays with wrong digests."""
        if self.with_latents:
            sections = [("member", self.reader.encode_member(LATENTS)), *sections]
        own = list((arrays or self.arrays).values())
        rows = [
            None if home is None else (*home, digest(array) if arrays else 0)
            for home, array in zip(homes, own, strict=True)
        ]
        return self.reader.write_member([], sections, rows)

    def exact_member(self, arrays: Arrays, section: bytes) -> bytes:
        """All tensors in one section of differences."""
        number = int(self.with_latents)
        return self.member(
            [("differences", section)], [("differences", number)] * len(arrays), arrays
        )


def assert_decodes(pack: Pack, data: bytes, arrays: Arrays) -> None:
    """Natively, by the reference, and verified."""
    with vc.open(data, pack=pack.data) as archive:
        archive.verify()
        decoded = archive.decode()
        sizes = archive.info.bytes
        assert sum(sizes.values()) == 2 * len(data)
    reference = reference_decode(data, pack.data)
    for name, array in arrays.items():
        assert decoded[name].tobytes() == reference[name].tobytes() == array.tobytes()


def sources(
    arrays: Arrays, predicted: Arrays, level: int = 0, levels: Any = None
) -> list[tuple[Any, ...]]:
    """As encode_exact takes them, as matrices of one row unless there are levels (rows, columns)."""
    rows, columns = levels or (None, None)
    return [(array, predicted[name], level, rows, columns) for name, array in arrays.items()]


@given(st.data(), st.sampled_from(DTYPES), st.integers(0, 3), st.booleans())
def test_any_bits_come_back(
    data: st.DataObject, dtype: np.dtype[Any], detail: int, with_latents: bool
) -> None:
    shape = data.draw(st.sampled_from([(), (0,), (5,), (3, 4), (2, 0, 3), (4, 2, 2)]))
    size = math.prod(shape)
    matrix = (shape[0] if len(shape) > 1 else 1, math.prod(shape[1:] if len(shape) > 1 else shape))
    drawn = st.lists(words(dtype), min_size=size, max_size=size)
    pack = Pack({"w": floats(data.draw(drawn), dtype, shape)}, with_latents)
    arrays = {"w": floats(data.draw(drawn), dtype, shape)}
    rows, columns = (
        data.draw(st.none() | st.lists(st.integers(0, 255), min_size=n, max_size=n).map(np.uint8))
        for n in matrix
    )
    level = data.draw(st.integers(-8192, 8192) | st.integers(0, 300))
    tensors = [(arrays["w"], pack.predicted()["w"], level, rows, columns)]
    tables = data.draw(st.integers(1, 256))
    section = _core.encode_differences(int(with_latents), detail, tensors, tables)
    assert_decodes(pack, pack.exact_member(arrays, section), arrays)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("detail", range(4))
def test_every_special_value_from_every_other(dtype: np.dtype[Any], detail: int) -> None:
    special = special_words(dtype)
    shape = (len(special), len(special))
    before, after = np.meshgrid(*2 * [np.array(special, np.uint64)])
    pack = Pack({"w": floats(before.reshape(-1), dtype, shape)})
    arrays = {"w": floats(after.reshape(-1), dtype, shape)}
    section = _core.encode_differences(0, detail, sources(arrays, pack.arrays))
    assert_decodes(pack, pack.exact_member(arrays, section), arrays)


@pytest.mark.parametrize("with_latents", [False, True])
def test_blocks_rows_and_many_members(with_latents: bool, isa: str) -> None:
    generator = np.random.default_rng(3)
    shapes = {"a": (300, 500), "b": (7,), "c": (200, 1000), "d": (11, 3)}
    dtypes = dict(zip("abcd", (DTYPES[2], DTYPES[3], DTYPES[1], DTYPES[0]), strict=True))
    pack = Pack(
        {n: generator.standard_normal(shape).astype(dtypes[n]) for n, shape in shapes.items()},
        with_latents,
    )
    predicted = pack.predicted()
    arrays = {name: moved(array, generator) for name, array in predicted.items()}
    section = encode_differences(arrays, predicted, int(with_latents))
    data = pack.exact_member(arrays, section)
    if isa == "scalar":
        assert_decodes(pack, data, arrays)
    with vc.open(data, pack=pack.data) as archive:
        assert {tensor.codec for tensor in archive.info.tensors} == {"differences"}
        for name, array in arrays.items():
            rows = len(array)
            for first, last in ((0, 1), (rows // 2, rows // 2 + 3), (rows - 1, rows), (2, 2)):
                assert archive.rows(name, first, last).tobytes() == array[first:last].tobytes()
    decoded = vc.fleet.decode([data, data], pack=pack.data)
    for one in decoded:
        assert all(one[name].tobytes() == array.tobytes() for name, array in arrays.items())


@given(st.integers(0, 2**32 - 1))
def test_members_of_any_latents(seed: int) -> None:
    member = make_difference_member(SMALL, seed)
    decoded = vc.decode(member.data, pack=SMALL.data)
    reference = reference_decode(member.data, SMALL.data)
    for name, array in member.arrays.items():
        assert decoded[name].tobytes() == reference[name].tobytes() == array.tobytes()


SMALL = make_pack()


def test_what_does_not_change_costs_nothing() -> None:
    generator = np.random.default_rng(6)
    base = generator.standard_normal((600, 800), np.float32)
    step = 1e-3 * generator.standard_normal(base.shape, np.float32)
    step[:, 100:] = 0  # inputs that are always zero
    step[50:] = 0
    few = len(encode_differences({"w": base + step}, {"w": base}))
    part = base[:50, :100] + step[:50, :100]
    alone = len(encode_differences({"w": part}, {"w": base[:50, :100]}))
    assert few < alone + 300


def test_levels_say_how_far_weights_move() -> None:
    generator = np.random.default_rng(7)
    base = generator.standard_normal((200, 300), np.float32)
    rows, columns = (np.exp2(generator.integers(-6, 1, n)) for n in base.shape)
    step = 1e-3 * rows[:, None] * columns * generator.standard_normal(base.shape)
    member = (base + step).astype(np.float32)
    # The entropy of a normal deviate of that size, in units of the member's last place.
    bits = np.log2(1e-3 * rows[:, None] * columns / np.spacing(np.abs(base))) + 2.047
    assert len(encode_differences({"w": member}, {"w": base})) < 1.025 * bits.sum() / 8


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_units_in_the_last_place_lead_to_the_next_float(dtype: np.dtype[Any]) -> None:
    generator = np.random.default_rng(9)
    words_ = generator.integers(0, np.iinfo(f"u{dtype.itemsize}").max, 1000, "u8", True)
    words_ = np.append(words_, [0, 1, 1 << (8 * dtype.itemsize - 1)]).astype(f"u{dtype.itemsize}")
    values, after = words_.view(dtype), (words_ + np.ones_like(words_)).view(dtype)
    with np.errstate(invalid="ignore"):
        wide = values.astype(np.longdouble), after.astype(np.longdouble)
        between = np.abs(wide[1] - wide[0])
    finite = np.isfinite(between)
    assert finite.sum() > 500
    assert np.array_equal(units_in_last_place(values)[finite], between[finite].astype(np.float64))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_the_encoder_takes_any_floats(dtype: np.dtype[Any]) -> None:
    generator = np.random.default_rng(8)
    words_ = generator.integers(0, np.iinfo(f"u{dtype.itemsize}").max, (4, 30, 9), "u8", True)
    base, array, zeros = (
        words_[0].astype(f"u{dtype.itemsize}").view(dtype),
        words_[1].astype(f"u{dtype.itemsize}").view(dtype),
        np.zeros((30, 9), dtype),
    )
    pack = Pack({"a": base, "b": zeros, "c": base[:, :1].copy(), "e": base[:0]})
    arrays = {"a": array, "b": -zeros, "c": array[:, :1].copy(), "e": array[:0]}
    section = encode_differences(arrays, pack.arrays)
    assert_decodes(pack, pack.exact_member(arrays, section), arrays)


# What the format forbids.


ONE = Pack({"w": np.array([[1.0, -2.0], [3.0, 4.0]], np.float32)})


def small_section(
    base: int = 0,
    detail: int = 0,
    flags: int = 0,
    level: int = 0,
    levels: bytes = b"\0\1\0",
    symbols: Sequence[int] = (0, 0, 0, 0),
    bits: bytes = b"",
    tail: bytes = b"",
    size: int | None = None,
) -> bytes:
    """A section of `ONE`'s tensor with one table."""
    flat = np.array(symbols, np.int32)
    tables = frequency_tables(flat, np.zeros(flat.size, np.int64))
    _, coded = encode_blocks(flat, np.zeros(flat.size, np.int64), Tables(tables), 1)
    block = struct.pack("<I", len(coded) if size is None else size) + coded + bits
    head = varint(base) + bytes([detail, flags]) + zigzag(level) + levels
    head += varint(1) + write_table(tables[0]) + b"\1"
    head += varint(len(block)) + struct.pack("<I", crc32c(block))
    return joined(head + tail, block)


def decodes(section: bytes, pack: Pack = ONE) -> list[list[float]]:
    """Natively and by the reference: equal values, or the native one's error."""
    data = pack.member([("differences", section)], [("differences", 0)], None)
    results: list[Any] = []
    for decode in (
        lambda: vc.decode(data, pack=pack.data),
        lambda: reference_decode(data, pack.data),
    ):
        try:
            decode()
        except vc.ArchiveError as error:
            results.append(error)
    assert len(results) == 2  # the digest is wrong at least
    native, reference = (str(error) for error in results)
    assert ("digest" in native) == ("digest" in reference), (native, reference)
    if "digest" not in native:
        raise results[0]
    with vc.open(data, pack=pack.data, verify=False) as archive:
        values: list[list[float]] = archive["w"].tolist()
    return values


def test_a_section_by_hand() -> None:
    assert decodes(small_section()) == [[1, -2], [3, 4]]
    # 1 + 2^-23; away from zero; 2 bits: 2 + 3 units; 3 bits: 4 + 1 units towards zero.
    values = decodes(small_section(symbols=(1, 1, 2, -3), bits=bytes([1 | 1 << 1])))
    unit = 2.0**-23
    assert values == [[1 + unit, -2 - 2 * unit], [3 + 3 * 2 * unit, 4 - 5 * 2 * unit]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": 1}, "base section"),
        ({"base": 9}, "base section"),
        ({"detail": 4}, "detail"),
        ({"flags": 4}, "flags"),
        ({"level": 8193}, "level"),
        ({"level": -8193}, "level"),
        ({"flags": 1}, "levels|symbol count"),
        ({"symbols": (65, 0, 0, 0), "bits": bytes(8)}, "table"),
        ({"symbols": (2, 0, 0, 0)}, "bits"),
        ({"symbols": (0, 0, 0, 0), "bits": b"\0"}, "bits"),
        ({"symbols": (2, 0, 0, 0), "bits": b"\2"}, "bits"),
        ({"symbols": (2, 0, 0, 0), "bits": b"\1\0"}, "bits"),
        ({"symbols": (1, 0, 1)}, "block"),
        ({"size": 1000}, "block"),
        ({"size": 2**32 - 1}, "block"),
        ({"size": 0}, "block"),
        ({"tail": b"\0"}, "end|left over"),
    ],
    ids=str,
)
def test_malformed_sections(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(vc.ArchiveError, match=message):
        decodes(small_section(**changes))


def test_the_greatest_symbols_are_taken_modulo_the_dtype() -> None:
    values = decodes(small_section(symbols=(64, 0, 0, 0), bits=bytes(8)))
    assert values == [[1, -2], [3, 4]]


def test_a_block_that_is_cut_or_changed_is_refused() -> None:
    section = small_section(symbols=(2, 3, 4, 5), bits=bytes([0, 0]))
    data = ONE.member([("differences", section)], [("differences", 0)], None)
    for position in range(len(data) - 30, len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        with pytest.raises(vc.ArchiveError, match="checksum"):
            vc.decode(bytes(changed), pack=ONE.data)


def test_only_floats_of_members_are_exact() -> None:
    ints = Pack({"w": np.arange(4).reshape(2, 2)})
    with pytest.raises(ValueError, match="made from floats"):
        ints.member([("differences", small_section())], [("differences", 0)], None)
    half = Pack({"w": np.ones(4, ml_dtypes.float8_e5m2)})
    with pytest.raises(ValueError, match="have differences"):
        half.member([("differences", small_section())], [("differences", 0)], None)
    with pytest.raises(ValueError, match="no pack"):
        _core.write_archive([], [("differences", small_section())], [])
    narrow = ONE.arrays["w"].astype(ml_dtypes.float8_e5m2)
    for bad, message in (
        ([(narrow, narrow, 0, None, None)], "have differences"),
        ([(ONE.arrays["w"], ONE.arrays["w"][:1], 0, None, None)], "shape and dtype"),
        ([(ONE.arrays["w"], ONE.arrays["w"], 0, np.zeros(3, np.uint8), None)], "rows"),
        ([(ONE.arrays["w"], ONE.arrays["w"], 0, None, np.zeros(3, np.uint8))], "columns"),
        ([(ONE.arrays["w"], ONE.arrays["w"], 9000, None, None)], "level"),
    ):
        with pytest.raises(ValueError, match=message):
            _core.encode_differences(0, 0, bad)
    with pytest.raises(ValueError, match="detail"):
        _core.encode_differences(0, 4, [])
