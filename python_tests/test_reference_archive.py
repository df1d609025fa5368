"""The reference's archive parser: what it decodes, and what it refuses (docs/format.md)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vaecomp_native as vc
from vaecomp_native import _core, reference
from vaecomp_native.errors import ArchiveError, UnsupportedVersionError
from vaecomp_native.reference.dtypes import REAL_FLOATS
from vaecomp_native.reference.rans import varint

from .archive_writer import (
    Archive,
    Plane,
    Row,
    alias,
    coded_plane,
    coded_symbols,
    float32_decoder,
    integer_decoder,
    latent_stream,
    latents_section,
    lossless_section,
    matrix,
    quantized_section,
    row,
    stored_plane,
    tensor,
    zigzag,
)
from .samples import DTYPES

RNG = np.random.default_rng(12)
RAW, LATENTS, INTEGER_DECODER, FLOAT32_DECODER, RESIDUAL, LOSSLESS = 1, 2, 3, 4, 5, 7
ROW_EXPONENTS, ROW_LEVELS, COLUMN_EXPONENTS, COLUMN_LEVELS, CODEBOOK = 1, 2, 4, 8, 16

INTEGER_LAYERS: list[tuple[npt.NDArray[Any], ...]] = [
    (
        RNG.integers(-128, 128, (6, 3)).astype(np.int8),
        np.zeros(6, np.int32),
        np.full(6, 2**30, np.int32),
        np.full(6, 36, np.uint8),
    ),
    (
        RNG.integers(-128, 128, (8, 6)).astype(np.int8),
        RNG.integers(-1000, 1000, 8).astype(np.int32),
        np.linspace(0.001, 0.002, 8, dtype=np.float32),
    ),
]
FLOAT_LAYERS = [
    (RNG.standard_normal((5, 2)).astype(np.float32), RNG.standard_normal(5).astype(np.float32)),
    (RNG.standard_normal((4, 5)).astype(np.float32), RNG.standard_normal(4).astype(np.float32)),
]
INTEGER_LATENTS = RNG.integers(-128, 128, (3, 3)).astype(np.int8)
FLOAT_LATENTS = RNG.standard_normal((2, 2)).astype(np.float32)
INTEGER_SPECS: list[tuple[tuple[int, ...], np.dtype[Any]]] = [
    ((2, 5), np.dtype(np.float32)),
    ((12,), np.dtype(ml_dtypes.bfloat16)),
]
FLOAT_SPECS: list[tuple[tuple[int, ...], np.dtype[Any]]] = [
    ((), np.dtype(np.float64)),
    ((0, 3), np.dtype(np.float16)),
    ((7,), np.dtype(np.float16)),
]

COUNTER = np.array(-5, np.int64)
MASK = np.array([[True, False, True]])
WEIGHT, HALF = reference.unchunk(
    reference.decoder_i8(INTEGER_LAYERS, INTEGER_LATENTS), INTEGER_SPECS
)
SCALAR, EMPTY, SEVEN = reference.unchunk(
    reference.decoder_f32(FLOAT_LAYERS, FLOAT_LATENTS), FLOAT_SPECS
)

INTEGER_SECTION = integer_decoder(
    [
        (INTEGER_LAYERS[0][0], None, np.array(2**30, np.int32), np.array(36, np.uint8)),
        INTEGER_LAYERS[1],
    ]
)
FLOAT_SECTION = float32_decoder(FLOAT_LAYERS)


# Tensors of one quantized section.
# One has everything along its axes, one has a codebook, one is empty, and one is a scalar.
QUANTIZED = RNG.integers(-3, 4, (3, 4)).astype(np.int32)
EXPONENTS, COLUMN_STEPS = [-2, 0, 1], [0, 3, -1, 0]
ROW_CONTEXTS, COLUMN_CONTEXTS = [0, 2, 1], [1, 0, 0, 1]
BOOK = np.array([-1.5, -0.0, 0.25, 3.0], np.float32)
BOOK_SYMBOLS = np.array([[-1, 0, 2], [1, 1, -1]], np.int32)
CONTEXTS = np.minimum(1 + np.add.outer(ROW_CONTEXTS, COLUMN_CONTEXTS), 2)
MATRICES = [
    matrix(0.375, ROW_EXPONENTS | ROW_LEVELS | COLUMN_EXPONENTS | COLUMN_LEVELS, 1),
    matrix(2.0, CODEBOOK, 0, (-1, BOOK)),
    matrix(1.0),
    matrix(1.0, 0, 200),
]
AXES = [*EXPONENTS, *ROW_CONTEXTS, *COLUMN_STEPS, *COLUMN_CONTEXTS]
ALL_SYMBOLS = np.concatenate([QUANTIZED.reshape(-1), BOOK_SYMBOLS.reshape(-1), [77]])
ALL_CONTEXTS = np.concatenate([CONTEXTS.reshape(-1), np.zeros(6, np.int64), [2]])
CODED = coded_symbols(ALL_SYMBOLS, ALL_CONTEXTS)
SUM_SYMBOLS = np.array([[9, -9, 0], [1, 0, -1]], np.int32)
SUM_CODED = coded_symbols(SUM_SYMBOLS, 0)


def scaled(level: float, step: float, exponent: int) -> np.float32:
    """A level times step * 2^(exponent / 2), both products rounded."""
    whole, odd = divmod(exponent, 2)
    root = np.float32(step) * np.float32(1.41421354) if odd else np.float32(step)
    return np.float32(np.float32(level) * (root * np.float32(2.0**whole)))


FULL = np.array(
    [
        [scaled(q, 0.375, EXPONENTS[i] + COLUMN_STEPS[j]) for j, q in enumerate(line)]
        for i, line in enumerate(QUANTIZED.tolist())
    ]
).astype(ml_dtypes.bfloat16)
FROM_BOOK = BOOK[BOOK_SYMBOLS + 1] * np.float32(2)
NOTHING = np.empty((0, 2), np.float16)
POINT = np.array(77, np.float64)
BASE = reference.decoder_i8(INTEGER_LAYERS, INTEGER_LATENTS[:1])[0, :6].reshape(2, 3)
SUM = BASE + SUM_SYMBOLS.astype(np.float32) * np.float32(0.5)

FLOATS = np.array([1.5, -2.0, 0.0, np.inf, -np.nan], np.float32)
COUNTS = np.arange(40, dtype=np.int16)
FLAGS = np.array([True, False, True])
# More than a small plane's items, so that its planes stand behind the head.
MANY = np.arange(5000, dtype=np.int16) * 7


def planes_of(bits: npt.NDArray[Any]) -> list[npt.NDArray[np.uint8]]:
    """The bytes of each significance."""
    return [(bits >> 8 * p).astype(np.uint8) for p in range(bits.itemsize)]


FLOAT_PLANES = planes_of(FLOATS.view(np.uint32) << 1 | FLOATS.view(np.uint32) >> 31)
LOW, HIGH = planes_of(COUNTS.view(np.uint16))
PLANES = [*map(stored_plane, FLOAT_PLANES), stored_plane(LOW), coded_plane(HIGH)]
FLAG_PLANE = stored_plane(FLAGS)
MANY_LOW, MANY_HIGH = planes_of(MANY.view(np.uint16))
MANY_PLANES = [stored_plane(MANY_LOW), coded_plane(MANY_HIGH)]


def sample() -> Archive:
    """An archive with every kind of section and every codec."""
    return Archive(
        metadata=[("model", "LSTM"), ("größe", "")],
        sections=[
            (RAW, COUNTER.tobytes() + MASK.tobytes()),
            (LATENTS, latents_section([2, 8, 3, 3, 2], latent_stream(INTEGER_LATENTS))),
            (INTEGER_DECODER, INTEGER_SECTION),
            (LATENTS, latents_section([4, 4, 2, 2, 0], FLOAT_LATENTS.tobytes())),
            (FLOAT32_DECODER, FLOAT_SECTION),
            (RESIDUAL, quantized_section(MATRICES, AXES, CODED)),
            (LATENTS, latents_section([2, 8, 1, 3, 2], latent_stream(INTEGER_LATENTS[:1]))),
            (RESIDUAL, quantized_section([matrix(0.5)], [], SUM_CODED, base=7)),
            (LOSSLESS, lossless_section(*PLANES, FLAG_PLANE)),
        ],
        tensors=[
            tensor("counter", 0, COUNTER, 0),
            tensor("weight", 1, WEIGHT, 1),
            tensor("scalar", 1, SCALAR, 3),
            alias("tied", 1),
            tensor("mask", 0, MASK, 0),
            tensor("half", 1, HALF, 1),
            tensor("empty", 1, EMPTY, 3),
            tensor("seven", 1, SEVEN, 3),
            alias("counter again", 0),
            tensor("full", 3, FULL, 5),
            tensor("from book", 3, FROM_BOOK, 5),
            tensor("nothing", 3, NOTHING, 5),
            tensor("sum", 3, SUM, 7),
            tensor("point", 3, POINT, 5),
            tensor("floats", 4, FLOATS, 8),
            tensor("counts", 4, COUNTS, 8),
            tensor("flags", 4, FLAGS, 8),
        ],
    )


def test_every_codec_and_section() -> None:
    data = sample().build()
    expected = {
        "counter": COUNTER,
        "weight": WEIGHT,
        "scalar": SCALAR,
        "tied": WEIGHT,
        "mask": MASK,
        "half": HALF,
        "empty": EMPTY,
        "seven": SEVEN,
        "counter again": COUNTER,
        "full": FULL,
        "from book": FROM_BOOK,
        "nothing": NOTHING,
        "sum": SUM,
        "point": POINT,
        "floats": FLOATS,
        "counts": COUNTS,
        "flags": FLAGS,
    }
    for arrays in (reference.decode(data), vc.decode(data)):
        assert list(arrays) == list(expected)
        for name, array in expected.items():
            assert arrays[name].dtype == array.dtype
            assert arrays[name].shape == array.shape
            assert arrays[name].tobytes() == array.tobytes(), name
        assert arrays["tied"] is arrays["weight"]
        assert arrays["counter again"] is arrays["counter"]


def test_an_empty_archive() -> None:
    data = Archive().build()
    assert len(data) == 35
    assert reference.decode(data) == {}


@pytest.mark.parametrize("dtype", DTYPES, ids=_core.dtype_name)
def test_raw_tensors_of_every_dtype(dtype: np.dtype[Any]) -> None:
    array = RNG.integers(0, 2, (3, 1, 2)).astype(dtype)
    archive = Archive(sections=[(RAW, array.tobytes())], tensors=[tensor("x", 0, array, 0)])
    decoded = reference.decode(archive.build())["x"]
    assert decoded.dtype == dtype
    assert decoded.shape == (3, 1, 2)
    assert decoded.tobytes() == array.tobytes()


def test_strings_of_any_length() -> None:
    key, value, name = "k" * 70_000, "ж" * 600_000, "n" * 1_000_000
    archive = Archive(metadata=[(key, value)], sections=[(RAW, MASK.tobytes())])
    archive.tensors = [tensor(name, 0, MASK, 0), alias(name + "2", 0)]
    data = archive.build()
    for decoded in (reference.decode(data), vc.decode(data)):
        assert list(decoded) == [name, name + "2"]
        assert decoded[name].tobytes() == MASK.tobytes()
    with vc.open(data) as opened:
        assert opened.info.metadata == {key: value}


@pytest.mark.parametrize("decode", [vc.decode, reference.decode], ids=["native", "reference"])
def test_names_that_share_their_bytes_have_a_limit_together(decode: Callable[..., Any]) -> None:
    """Each of some bytes in the file, and of half a mebibyte when read."""
    name = "n" * (1 << 19)
    archive = Archive(sections=[(RAW, MASK.tobytes())], tensors=[tensor(name, 0, MASK, 0)])
    archive.tensors += [row(f"{name}{i:03}", b"\2\0", shared=len(name)) for i in range(126)]
    assert len(decode(archive.build())) == 127
    archive.tensors.append(row(name + "more", b"\2\0", shared=len(name)))
    with pytest.raises(ArchiveError, match=r"tensor name at offset .* 2\^26 bytes"):
        decode(archive.build())


def test_another_version_is_told_apart() -> None:
    with pytest.raises(UnsupportedVersionError, match="format version at offset 8: 2 "):
        reference.decode(Archive(version=2).build())


def test_every_changed_byte_is_refused() -> None:
    data = sample().build()
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        with pytest.raises(ArchiveError):
            reference.decode(bytes(changed))


def test_every_truncation_and_an_extension_are_refused() -> None:
    data = sample().build()
    for length in range(len(data)):
        with pytest.raises(ArchiveError):
            reference.decode(data[:length])
    with pytest.raises(ArchiveError):
        reference.decode(data + b"\0")


Change = Callable[[Archive], object]


def section(number: int, content: bytes, kind: int | None = None) -> Change:
    """Another content, and perhaps kind, of a section."""

    def change(archive: Archive) -> None:
        archive.sections[number] = (kind or archive.sections[number][0], content)

    return change


def entry(number: int, content: Row) -> Change:
    """Another entry in the table of tensors."""
    return lambda archive: archive.tensors.__setitem__(number, content)


def attribute(name: str, value: object) -> Change:
    """Another value of one of the archive's own fields."""
    return lambda archive: setattr(archive, name, value)


def latents(*numbers: int, content: bytes | None = None) -> Change:
    """Other numbers in front of the integer latents, or other latents."""
    stream = latent_stream(INTEGER_LATENTS) if content is None else content
    return section(1, latents_section(numbers, stream))


def hidden(**parts: Any) -> Change:
    """Another first layer of the integer decoder."""
    names = ("weight", "bias", "multiplier", "shift")
    layer = {**dict(zip(names, INTEGER_LAYERS[0], strict=True)), **parts}
    return section(2, integer_decoder([tuple(layer.values()), INTEGER_LAYERS[1]]))


def last(scale: Any, weight: Any = INTEGER_LAYERS[1][0]) -> Change:
    """Another last layer of the integer decoder."""
    return section(2, integer_decoder([INTEGER_LAYERS[0], (weight, INTEGER_LAYERS[1][1], scale)]))


def float_layers(*layers: tuple[Any, Any]) -> Change:
    """Another float32 decoder."""
    return section(4, float32_decoder(layers))


def with_value(array: npt.NDArray[Any], value: float) -> npt.NDArray[Any]:
    """A copy with another first value."""
    changed: npt.NDArray[Any] = array.copy()
    changed.flat[0] = value
    return changed


def counter(*parts: bytes) -> Change:
    """Another entry of the tensor "counter", from its codec on."""
    return entry(0, row("counter", b"".join(parts)))


def quantized(
    *,
    first: bytes = MATRICES[0],
    second: bytes = MATRICES[1],
    axes: Sequence[int] = AXES,
    coded: tuple[bytes, bytes] = CODED,
    base: int = 0,
) -> Change:
    """Another quantized section of four tensors."""
    return section(5, quantized_section([first, second, *MATRICES[2:]], axes, coded, base))


def lossless(*planes: Plane) -> Change:
    """Other planes of the lossless tensors."""
    return section(8, lossless_section(*planes))


HEAD, BLOCKS = CODED
FLAG_HEAD, _ = FLAG_PLANE
LOW_HEAD, LOW_BYTES = MANY_PLANES[0]


def with_many(*planes: Plane) -> Change:
    """Another lossless tensor, whose planes stand behind the head."""

    def changed(archive: Archive) -> None:
        lossless(*PLANES, FLAG_PLANE, *planes)(archive)
        archive.tensors.append(tensor("many", 4, MANY, 8))

    return changed


def other_base(base: int) -> Change:
    """Another base of the quantized section that has one."""
    return section(7, quantized_section([matrix(0.5)], [], SUM_CODED, base))


ALL_FLAGS = ROW_EXPONENTS | ROW_LEVELS | COLUMN_EXPONENTS | COLUMN_LEVELS
SHORT, LONG = INTEGER_LATENTS[:2], np.concatenate([INTEGER_LATENTS] * 2)
SCALE = INTEGER_LAYERS[1][2]
FORBIDDEN: dict[str, tuple[str, Change]] = {
    "header flags": ("flags at offset 10", attribute("flags", 2)),
    "file size": ("file size at offset 16", attribute("file_size", 5000)),
    "bytes behind the last section": ("file at offset", attribute("tail", b"\0")),
    "bytes behind the index": ("index at offset", attribute("index_tail", b"\0")),
    "section flags": ("section flags", attribute("section_flags", 2)),
    "key twice": ("metadata key", attribute("metadata", [("a", ""), ("a", "b")])),
    "key not UTF-8": ("metadata key", attribute("metadata", [(b"\xff", "")])),
    "surrogate": ("metadata value", attribute("metadata", [("a", b"\xed\xa0\x80")])),
    "section of kind 0": ("section kind", lambda archive: archive.sections.append((0, b""))),
    "section of kind 9": ("section kind", lambda archive: archive.sections.append((9, b""))),
    "member section outside a member": (
        "section kind",
        lambda archive: archive.sections.append((8, b"")),
    ),
    "unused raw bytes": ("raw section", lambda archive: archive.sections.append((RAW, b"a"))),
    "unused latents": ("padding", lambda archive: archive.sections.append(archive.sections[1])),
    "name twice": ("tensor name", entry(4, tensor("weight", 0, MASK, 0))),
    "name not UTF-8": ("tensor name", entry(4, tensor(b"\x80", 0, MASK, 0))),
    "codec of members": ("codec", entry(4, row("mask", b"\5"))),
    "name shares too much": ("tensor name", entry(1, row("weight", b"", shared=8))),
    "first name shares": ("tensor name", entry(0, row("counter", b"", shared=1))),
    "alias of itself": ("alias", entry(3, alias("tied", 3))),
    "alias of a later tensor": ("alias", entry(3, alias("tied", 4))),
    "alias of an alias": ("alias", entry(8, alias("counter again", 3))),
    "alias far away": ("alias", entry(8, alias("counter again", 2**64 - 1))),
    "dtype 36": ("dtype", counter(b"\0" + bytes([36, 0]))),
    **{
        f"{_core.dtype_name(dtype)} latent tensor": (
            "dtype",
            entry(7, tensor("seven", 1, np.zeros_like(SEVEN, dtype), 3)),
        )
        for dtype in DTYPES
        if _core.dtype_name(dtype) not in REAL_FLOATS
    },
    "rank 33": ("rank", counter(b"\0" + bytes([8, 33]) + b"\1" * 33 + bytes(9))),
    "huge shape": ("shape", counter(b"\0" + bytes([8, 1]) + varint(2**63) + bytes(9))),
    "huge empty shape": (
        "shape",
        counter(b"\0" + bytes([8, 3, 0]) + varint(2**40) * 2 + bytes(9)),
    ),
    "expansion": ("shape", counter(b"\0" + bytes([8, 1]) + varint(2**35) + bytes(9))),
    "raw tensor in latents": ("tensor's section", entry(0, tensor("counter", 0, COUNTER, 1))),
    "latent tensor in raw": ("tensor's section", entry(7, tensor("seven", 1, SEVEN, 0))),
    "section out of range": ("tensor's section", entry(0, tensor("counter", 0, COUNTER, 9))),
    "digest": ("digest", counter(b"\0\x08\0\0" + bytes(8))),
    "bool of 2": ("mask", section(0, COUNTER.tobytes() + b"\1\0\2")),
    "raw too short": ("mask", section(0, COUNTER.tobytes() + b"\1\0")),
    "raw too long": ("raw section", section(0, COUNTER.tobytes() + b"\1\0\1\0")),
    "latents of no decoder": ("decoder", latents(0, 8, 3, 3, 2)),
    "latents of no section": ("decoder", latents(9, 8, 3, 3, 2)),
    "other chunk length": ("chunk length", latents(2, 7, 3, 3, 2)),
    "chunk length 0": ("chunk length", latents(2, 0, 3, 3, 2)),
    "chunk length above 2^20": ("chunk length", latents(2, 2**20 + 1, 3, 3, 2)),
    "no chunks": ("chunk count", latents(2, 8, 0, 3, 2)),
    "too many chunks": ("chunk count", latents(2, 8, 2**32 + 1, 3, 2)),
    "other latent": ("latent", latents(2, 8, 3, 4, 2)),
    "other padding": ("padding", latents(2, 8, 3, 3, 1)),
    "padding of a chunk": ("padding", latents(2, 8, 3, 3, 8)),
    "more chunks": ("padding", latents(2, 8, 4, 3, 2)),
    "fewer latents": ("symbol count", latents(2, 8, 3, 3, 2, content=latent_stream(SHORT))),
    "more latents": ("symbol count", latents(2, 8, 3, 3, 2, content=latent_stream(LONG))),
    "bytes behind the latents": (
        "latents",
        latents(2, 8, 3, 3, 2, content=latent_stream(INTEGER_LATENTS) + b"\0"),
    ),
    "latents above int8": (
        "first symbol",
        latents(2, 8, 3, 3, 2, content=reference.encode_symbols(np.full(9, 128, np.int32), [9])),
    ),
    "latents below int8": (
        "first symbol",
        latents(2, 8, 3, 3, 2, content=reference.encode_symbols(np.full(9, -129, np.int32), [9])),
    ),
    "too few float32 latents": (
        "latents",
        section(3, latents_section([4, 4, 2, 2, 0], bytes(15))),
    ),
    "too many float32 latents": (
        "latents",
        section(3, latents_section([4, 4, 2, 2, 0], bytes(17))),
    ),
    "no integer layers": ("layer count", section(2, varint(0))),
    "9 integer layers": (
        "layer count",
        section(
            2,
            integer_decoder(
                [(np.eye(3, dtype=np.int8), None, np.array(1, np.int32), np.array(0, np.uint8))] * 8
                + [(np.ones((8, 3), np.int8), None, np.ones(8, np.float32))]
            ),
        ),
    ),
    "in of 0": ("layer's in", section(2, varint(1) + varint(0) + varint(8))),
    "out of 0": ("layer's out", section(2, varint(1) + varint(3) + varint(0))),
    "out above 2^28": ("layer's out", section(2, varint(1) + varint(3) + varint(2**28 + 1))),
    "hidden out above 2^20": ("layer's out", section(2, varint(2) + varint(3) + varint(2**20 + 1))),
    "more out than the file allows": ("layer's out", section(2, varint(1) * 2 + varint(2**28))),
    "in is not the previous out": (
        "layer's in",
        last(SCALE, weight=np.ones((8, 7), np.int8)),
    ),
    "parameter form 3": ("bias form", section(2, varint(1) + varint(3) + varint(8) + b"\3")),
    "no multiplier": ("multiplier form", hidden(multiplier=None)),
    "no shift": ("shift form", hidden(shift=None)),
    "no scale": ("scale form", last(None)),
    "negative multiplier": ("multiplier", hidden(multiplier=np.array(-1, np.int32))),
    "shift of 63": ("shift", hidden(shift=np.array(63, np.uint8))),
    "scale of infinity": ("scale", last(with_value(SCALE, np.inf))),
    "scale of NaN": ("scale", last(with_value(SCALE, np.nan))),
    "too few weights": (
        "symbol count",
        section(2, INTEGER_SECTION.replace(varint(3) + varint(6), varint(3) + varint(5), 1)),
    ),
    "bytes behind an integer decoder": (
        "integer decoder at offset",
        section(2, INTEGER_SECTION + b"\0"),
    ),
    "no float32 layers": ("layer count", section(4, varint(0))),
    "bytes behind a float32 decoder": (
        "float32 decoder at offset",
        section(4, FLOAT_SECTION + b"\0"),
    ),
    "cut float32 decoder": ("weight at offset", section(4, FLOAT_SECTION[:-1])),
    "infinite weight": (
        "weight",
        float_layers((with_value(FLOAT_LAYERS[0][0], np.inf), FLOAT_LAYERS[0][1]), FLOAT_LAYERS[1]),
    ),
    "NaN in a bias": (
        "bias",
        float_layers((FLOAT_LAYERS[0][0], with_value(FLOAT_LAYERS[0][1], np.nan)), FLOAT_LAYERS[1]),
    ),
    "other outputs": ("chunk length", float_layers(FLOAT_LAYERS[0])),
    "integer quantized tensor": ("dtype", entry(9, tensor("full", 3, COUNTER, 5))),
    "quantized tensor in latents": ("tensor's section", entry(9, tensor("full", 3, FULL, 1))),
    "lossless tensor in raw": ("tensor's section", entry(14, tensor("floats", 4, FLOATS, 0))),
    "step of 0": ("step", quantized(first=matrix(0.0, ALL_FLAGS))),
    "negative step": ("step", quantized(first=matrix(-1.0, ALL_FLAGS))),
    "step of infinity": ("step", quantized(first=matrix(np.inf, ALL_FLAGS))),
    "flag 32": ("matrix flags", quantized(first=matrix(1.0, ALL_FLAGS | 32))),
    "level of 256": ("context level", quantized(first=matrix(1.0, ALL_FLAGS, 256))),
    "empty codebook": ("codebook", quantized(second=matrix(2.0, CODEBOOK, 0, (-1, [])))),
    "long codebook": ("codebook", quantized(second=matrix(2.0, CODEBOOK, 0, (-1, [1.0] * 4097)))),
    "codebook above int16": (
        "codebook",
        quantized(second=matrix(2.0, CODEBOOK, 0, (32_767, [1.0, 2.0]))),
    ),
    "codebook below int16": (
        "codebook",
        quantized(second=matrix(2.0, CODEBOOK, 0, (-32_769, BOOK))),
    ),
    "codebook of NaN": (
        "codebook",
        quantized(second=matrix(2.0, CODEBOOK, 0, (-1, with_value(BOOK, np.nan)))),
    ),
    "symbol below the codebook": ("block", quantized(second=matrix(2.0, CODEBOOK, 0, (0, BOOK)))),
    "symbol above the codebook": (
        "block",
        quantized(second=matrix(2.0, CODEBOOK, 0, (-1, BOOK[:3]))),
    ),
    "too few axes": ("symbol count", quantized(axes=AXES[1:])),
    "too many axes": ("symbol count", quantized(axes=[*AXES, 0])),
    "exponent of 65": ("axes", quantized(axes=[65, *AXES[1:]])),
    "negative level": ("axes", quantized(axes=[*AXES[:-1], -1])),
    "axis value of -65": ("first symbol", quantized(axes=[-65, *AXES[1:]])),
    "scale below the normal numbers": ("axes", quantized(first=matrix(2.0**-125, ALL_FLAGS))),
    "infinite scale": ("axes", quantized(first=matrix(2.0**127, ALL_FLAGS))),
    "no tables": ("table count", quantized(coded=(varint(0), b""))),
    "257 tables": ("table count", quantized(coded=(varint(257) + HEAD[1:], BLOCKS))),
    "symbols above int16": (
        "first symbol",
        quantized(coded=(b"\1" + zigzag(32_768) + HEAD, BLOCKS)),
    ),
    "quantized lanes": ("lanes", quantized(coded=coded_symbols(ALL_SYMBOLS, 0, 3))),
    "cut block": ("block", quantized(coded=(HEAD, BLOCKS[:-2]))),
    "too few symbols": ("rANS", quantized(coded=coded_symbols(ALL_SYMBOLS[:-1], 0))),
    "bytes behind the quantized section": (
        "quantized section at offset",
        quantized(coded=(HEAD, BLOCKS + b"\0")),
    ),
    "bytes behind the quantized section's head": (
        "quantized section's head at offset",
        quantized(coded=(HEAD + b"\0", BLOCKS)),
    ),
    "head longer than the section": ("head", section(5, varint(40) + bytes(39))),
    "head without a size": ("head", section(8, b"")),
    "base is no latents section": ("base section", other_base(1)),
    "base is named by tensors": ("base section", other_base(2)),
    "base is itself": ("base section", other_base(8)),
    "base out of range": ("base section", other_base(10)),
    "base far away": ("base section", other_base(2**64 - 1)),
    "base of two": ("base section", quantized(base=7)),
    "base of other elements": (
        "padding",
        section(6, latents_section([2, 8, 1, 3, 1], latent_stream(INTEGER_LATENTS[:1]))),
    ),
    "plane form 2": ("plane's form", lossless(*PLANES, (b"\2" + FLAG_HEAD[1:], b""))),
    "cut plane": ("plane", lossless(*PLANES, (FLAG_HEAD[:-1], b""))),
    "cut block of a plane": ("block", with_many((LOW_HEAD, LOW_BYTES[:-1]))),
    "changed plane": ("block", with_many((LOW_HEAD, bytes(len(LOW_BYTES))), MANY_PLANES[1])),
    "plane too long": ("lossless section at offset", with_many(*MANY_PLANES, (b"", b"\0"))),
    "bytes behind the planes' heads": (
        "lossless section's head at offset",
        with_many(*MANY_PLANES, (b"\0", b"")),
    ),
    "missing plane": ("plane", lossless(*PLANES)),
    "missing large plane": ("plane", with_many(MANY_PLANES[0])),
    "coded plane too short": ("symbol count", lossless(*PLANES, coded_plane(FLAGS[1:]))),
    "plane above bytes": ("table size", lossless(*PLANES, coded_plane(FLAGS + 255))),
    "lossless bool of 2": ("bool", lossless(*PLANES, stored_plane([0, 1, 2]))),
    "huge layer": ("weight", section(4, varint(1) + (varint(2**20)) * 2 + bytes(2**22))),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_the_format_forbids_is_refused(name: str) -> None:
    field, change = FORBIDDEN[name]
    archive = sample()
    change(archive)
    data = archive.build()
    with pytest.raises(ArchiveError):
        vc.verify(data)
    with pytest.raises(ArchiveError) as caught:
        reference.decode(data)
    assert field in str(caught.value)
    assert "at offset" in str(caught.value)
    assert not isinstance(caught.value, UnsupportedVersionError)


@pytest.mark.slow
@settings(max_examples=300)
@given(
    number=st.sampled_from([1, 2, 3, 4, 6, 5, 5, 5, 7, 7, 8, 8]),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=3
    ),
)
def test_changed_sections_are_judged_alike(number: int, changes: list[tuple[float, int]]) -> None:
    """Bytes of a section changed under valid checksums: native code and reference agree.

    Where only the digests stand between the changed values and the caller, native code without
    them decodes too.
    """
    archive = sample()
    kind, content = archive.sections[number]
    changed = bytearray(content)
    for place, change in changes:
        # The first half of the bytes is where the structure is.
        changed[int(place * place * len(changed))] ^= change
    archive.sections[number] = (kind, bytes(changed))
    data = archive.build()
    try:
        expected = reference.decode(data)
    except ArchiveError as error:
        with pytest.raises(ArchiveError):
            vc.decode(data)
        if str(error).startswith("digest"):
            vc.decode(data, verify=False)
        else:
            with pytest.raises(ArchiveError):
                vc.decode(data, verify=False)
    else:
        for name, array in vc.decode(data).items():
            assert array.tobytes() == expected[name].tobytes()


def test_padding_is_not_zero() -> None:
    data = bytearray(sample().build())
    (index_size,) = struct.unpack("<I", data[12:16])
    data[32 + index_size] = 1
    with pytest.raises(ArchiveError, match="padding at offset"):
        reference.decode(bytes(data))


def test_large_planes_stand_behind_their_head() -> None:
    archive = sample()
    with_many(*MANY_PLANES)(archive)
    data = archive.build()
    for decoded in (reference.decode(data), vc.decode(data)):
        np.testing.assert_array_equal(decoded["many"], MANY)
        np.testing.assert_array_equal(decoded["flags"], FLAGS)


def test_section_crc_is_checked() -> None:
    archive = sample()
    with_many(*MANY_PLANES)(archive)
    data = bytearray(archive.build())
    data[-1] ^= 1
    with pytest.raises(ArchiveError, match=r"block at offset .* CRC-32C"):
        reference.decode(bytes(data))
    archive = sample()
    data = bytearray(archive.build())
    data[data.index(archive.sections[4][1])] ^= 1
    with pytest.raises(ArchiveError, match=r"section 4 at offset .* CRC-32C"):
        reference.decode(bytes(data))


def test_foreign_files_are_refused() -> None:
    for data in (b"", b"\x89VAEC", b"PK\x03\x04" + bytes(100)):
        with pytest.raises(ArchiveError, match="magic at offset 0"):
            reference.decode(data)
