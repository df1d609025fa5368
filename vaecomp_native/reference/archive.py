"""Reading a latent archive: an independent implementation of docs/format.md."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.errors import ArchiveError, UnsupportedVersionError
from vaecomp_native.reference.checks import crc32c, digest
from vaecomp_native.reference.chunk import ml_dtype, unchunk
from vaecomp_native.reference.cursor import Cursor
from vaecomp_native.reference.linear_f32 import decoder_f32
from vaecomp_native.reference.linear_i8 import decoder_i8
from vaecomp_native.reference.lossless import read_lossless
from vaecomp_native.reference.rans import read_stream
from vaecomp_native.reference.residual import add_base, read_residual

MAGIC = b"\x89VAEC\r\n\x1a"
VERSION = 1
ALIGNMENT = 64
MAX_EXPANSION = 65_536
MAX_WORK = 1 << 24
# So that every shape is one NumPy can make, empty ones too: at most 2^63 - 1 bytes.
MAX_ELEMENTS = ((1 << 63) - 1) // 16

# So that front coding cannot blow the index up.
MAX_NAME_BYTES = 1 << 26

RAW, LATENTS, INTEGER_DECODER, FLOAT32_DECODER, RESIDUAL, LOSSLESS = 1, 2, 3, 4, 5, 7
RAW_CODEC, LATENT_CODEC, ALIAS_CODEC, RESIDUAL_CODEC, LOSSLESS_CODEC = 0, 1, 2, 3, 4
# The kind of section in which a codec's tensors lie.
HOMES = {
    RAW_CODEC: RAW,
    LATENT_CODEC: LATENTS,
    RESIDUAL_CODEC: RESIDUAL,
    LOSSLESS_CODEC: LOSSLESS,
}
EXTERNAL = 1
ABSENT, ONE, EACH = 0, 1, 2

DTYPES = (
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2"),
    *("complex64", "complex128"),
)
ML_DTYPES = ("bfloat16", "float8_e4m3fn", "float8_e5m2")
FIRST_FLOAT, LAST_FLOAT = DTYPES.index("float16"), DTYPES.index("float8_e5m2")


@dataclass(frozen=True)
class SectionEntry:
    """A section as the index describes it; ``sha256`` is set if its bytes stand in another file."""

    kind: int
    size: int
    crc: int
    sha256: bytes | None


@dataclass(frozen=True)
class Tensor:
    """A tensor with data of its own; ``offset`` is that of its digest."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    section: int
    digest: int
    offset: int

    @property
    def elements(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The size of the decoded tensor in bytes."""
        return self.elements * self.dtype.itemsize


@dataclass(frozen=True)
class Index:
    """The sections, the tensors with data of their own, and each name's place among these."""

    sections: list[SectionEntry]
    tensors: list[Tensor]
    names: dict[str, int]

    def tensors_of(self, section: int) -> list[Tensor]:
        """The tensors that name a section, in the table's order."""
        return [tensor for tensor in self.tensors if tensor.section == section]


@dataclass(frozen=True)
class Decoder:
    """A section's decoder: its layers as ``decoder_i8`` or ``decoder_f32`` takes them, by kind."""

    kind: int
    layers: list[Any]

    @property
    def latent(self) -> int:
        """The number of inputs, L."""
        return int(self.layers[0][0].shape[1])

    @property
    def chunk_length(self) -> int:
        """The number of outputs, C."""
        return int(self.layers[-1][0].shape[0])

    @property
    def multiplications(self) -> int:
        """Products that one chunk takes: the number of weights."""
        return sum(layer[0].size for layer in self.layers)

    def forward(self, latents: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Latents [K, L] to chunks float32 [K, C]."""
        if self.kind == INTEGER_DECODER:
            return decoder_i8(self.layers, latents)
        return decoder_f32(self.layers, latents)


def read_header(data: bytes) -> Cursor:
    """Check the header; a cursor over the index."""
    cursor = Cursor(data)
    if data[:8] != MAGIC:
        cursor.fail("magic", "this is no latent archive")
    cursor.take(8, "magic")
    version = cursor.unpack("H", "format version")
    if version != VERSION:
        raise UnsupportedVersionError(
            f"format version at offset 8: {version} is not the version {VERSION} that is supported"
        )
    flags = cursor.unpack("H", "flags")
    index_size = cursor.unpack("I", "index size")
    file_size = cursor.unpack("Q", "file size")
    index_crc = cursor.unpack("I", "index CRC-32C")
    if cursor.unpack("I", "header CRC-32C") != crc32c(data[:28]):
        cursor.fail("header CRC-32C", "it does not match the header")
    for field, offset, problem in (
        ("flags", 10, f"they are {flags:#x}, not 0" if flags else ""),
        ("index size", 12, f"{index_size} is above 2^26" if index_size > 1 << 26 else ""),
        ("file size", 16, f"{file_size} is not {len(data)}" if file_size != len(data) else ""),
    ):
        if problem:
            cursor.field_offset = offset
            cursor.fail(field, problem)
    if crc32c(cursor.take(index_size, "index")) != index_crc:
        cursor.fail("index", "its CRC-32C does not match")
    return cursor.last_taken()


def read_section_entry(cursor: Cursor) -> SectionEntry:
    """One section of the index."""
    kind = cursor.unpack("B", "section kind")
    if kind not in (RAW, LATENTS, INTEGER_DECODER, FLOAT32_DECODER, RESIDUAL, LOSSLESS):
        cursor.fail("section kind", f"kind {kind} is not known in version {VERSION}")
    flags = cursor.unpack("B", "section flags")
    if flags not in (0, EXTERNAL):
        cursor.fail("section flags", f"{flags:#x} is not known in version {VERSION}")
    size = cursor.varint("section size")
    crc = cursor.unpack("I", "section CRC-32C")
    sha256 = cursor.take(32, "section SHA-256") if flags == EXTERNAL else None
    return SectionEntry(kind, size, crc, sha256)


def read_dtype(cursor: Cursor, codec: int) -> np.dtype[Any]:
    """A tensor's dtype; latent and residual tensors have one of the floating-point dtypes."""
    number = cursor.unpack("B", "dtype")
    if number >= len(DTYPES):
        cursor.fail("dtype", f"dtype {number} is not known in version {VERSION}")
    lossy = codec in (LATENT_CODEC, RESIDUAL_CODEC)
    if lossy and not FIRST_FLOAT <= number <= LAST_FLOAT:
        cursor.fail("dtype", f"a tensor of dtype {DTYPES[number]} cannot be made from floats")
    name = DTYPES[number]
    return ml_dtype(name) if name in ML_DTYPES else np.dtype(name)


def read_tensor(
    cursor: Cursor, name: str, codec: int, sections: list[SectionEntry], room: int
) -> Tensor:
    """One tensor with data of its own, behind its codec; it may have ``room`` bytes."""
    dtype = read_dtype(cursor, codec)
    rank = cursor.unpack("B", "rank")
    if rank > 32:
        cursor.fail("rank", f"{rank} is above 32")
    shape = tuple(cursor.varint("shape") for _ in range(rank))
    if math.prod(max(length, 1) for length in shape) > MAX_ELEMENTS:
        cursor.fail("shape", f"the product of {shape}, zeros left out, is above {MAX_ELEMENTS}")
    if math.prod(shape) * dtype.itemsize > room:
        cursor.fail("shape", f"all tensors have more than {MAX_EXPANSION} times the file's bytes")
    section = cursor.varint("tensor's section")
    if section >= len(sections) or sections[section].kind != HOMES[codec]:
        cursor.fail("tensor's section", f"{section} is no section of kind {HOMES[codec]}")
    check = cursor.unpack("Q", "digest")
    return Tensor(name, dtype, shape, section, check, cursor.field_offset)


def read_tensors(cursor: Cursor, sections: list[SectionEntry]) -> Index:
    """The tensor table."""
    tensors: list[Tensor] = []
    names: dict[str, int] = {}
    owners: list[int | None] = []
    room, name_room = MAX_EXPANSION * len(cursor.data), MAX_NAME_BYTES
    raw_name = b""
    for _ in range(cursor.varint("tensor count", high=1 << 24)):
        raw_name = cursor.front_coded("tensor name", raw_name)
        name = raw_name.decode()
        name_room -= len(raw_name)
        if name_room < 0:
            cursor.fail("tensor name", f"the names have together more than {MAX_NAME_BYTES} bytes")
        if name in names:
            cursor.fail("tensor name", f"{name!r} stands in the table twice")
        codec = cursor.unpack("B", "codec")
        if codec == ALIAS_CODEC:
            target = cursor.varint("alias")
            owner = owners[target] if target < len(owners) else None
            if owner is None:
                cursor.fail("alias", f"{target} is no earlier tensor with data of its own")
            names[name] = owner
            owners.append(None)
        elif codec in HOMES:
            names[name] = len(tensors)
            owners.append(len(tensors))
            tensors.append(read_tensor(cursor, name, codec, sections, room))
            room -= tensors[-1].nbytes
        else:
            cursor.fail("codec", f"codec {codec} is not known in version {VERSION}")
    return Index(sections, tensors, names)


def read_index(cursor: Cursor) -> Index:
    """The whole index; the metadata are checked and left out."""
    keys: set[str] = set()
    for _ in range(cursor.varint("metadata count", high=65_536)):
        key = cursor.string("metadata key")
        if key in keys:
            cursor.fail("metadata key", f"{key!r} stands in the metadata twice")
        keys.add(key)
        cursor.string("metadata value")
    section_count = cursor.varint("section count", high=65_536)
    index = read_tensors(cursor, [read_section_entry(cursor) for _ in range(section_count)])
    cursor.finish("index")
    return index


def checked_bytes(kind: int, section: Cursor) -> bytes:
    """What a section's CRC covers: all of it, or its head with the head's size."""
    end = section.end
    if kind in (RESIDUAL, LOSSLESS):
        end = Cursor(section.data, section.position, section.end, section.where).head().end
    return section.data[section.position : end]


def locate_sections(
    data: bytes, start: int, entries: list[SectionEntry], external: Mapping[bytes, bytes]
) -> list[Cursor]:
    """A cursor over each section's bytes; ``start`` is the end of the index."""
    file = Cursor(data, start)
    cursors = []
    for number, entry in enumerate(entries):
        if entry.sha256 is None:
            padding = -file.position % ALIGNMENT if entry.kind == RAW else 0
            if file.take(padding, "padding").strip(b"\0"):
                file.fail("padding", "a byte is not zero")
            file.take(entry.size, f"section {number}")
            cursor = file.last_taken()
        else:
            where = f"external section {number} ({entry.sha256.hex()}): "
            content = external.get(entry.sha256)
            if content is None:
                raise ArchiveError(f"{where}its bytes are in another file, which is missing")
            cursor = Cursor(content, where=where)
            if len(content) != entry.size or hashlib.sha256(content).digest() != entry.sha256:
                cursor.fail("section", "the other file's bytes are not those of the index")
        if crc32c(checked_bytes(entry.kind, cursor)) != entry.crc:
            cursor.fail(f"section {number}", "its CRC-32C does not match")
        cursors.append(cursor)
    file.finish("file")
    return cursors


def read_parameter(cursor: Cursor, field: str, dtype: str, count: int) -> npt.NDArray[Any] | None:
    """A layer's parameter, one value for each of ``count`` outputs; None if it is absent."""
    form = cursor.unpack("B", f"{field} form")
    if form == ABSENT:
        return None
    if form not in (ONE, EACH):
        cursor.fail(f"{field} form", f"{form} is none of 0, 1 and 2")
    values = cursor.array(dtype, 1 if form == ONE else count, field)
    return np.broadcast_to(values, count)


def required(cursor: Cursor, field: str, dtype: str, count: int) -> npt.NDArray[Any]:
    """A parameter that may not be absent."""
    values = read_parameter(cursor, field, dtype, count)
    if values is None:
        cursor.fail(f"{field} form", "only a bias may be absent")
    return values


def read_layer_sizes(cursor: Cursor, previous: int | None) -> tuple[int, int]:
    """A decoder layer's (in, out)."""
    inputs = cursor.varint("layer's in", 1, 1 << 20)
    if previous not in (None, inputs):
        cursor.fail("layer's in", f"{inputs} is not the previous layer's out, {previous}")
    return inputs, cursor.varint("layer's out", 1, 1 << 20)


def read_integer_decoder(cursor: Cursor) -> Decoder:
    """A section of kind 3."""
    layers: list[Any] = []
    layer_count = cursor.varint("layer count", 1, 8)
    out: int | None = None
    for number in range(layer_count):
        inputs, out = read_layer_sizes(cursor, out)
        bias = read_parameter(cursor, "bias", "i4", out)
        if bias is None:
            bias = np.zeros(out, np.int32)
        parameters: tuple[npt.NDArray[Any], ...]
        if number < layer_count - 1:
            multiplier = required(cursor, "multiplier", "i4", out)
            if (multiplier < 0).any():
                cursor.fail("multiplier", "a value is negative")
            shift = required(cursor, "shift", "u1", out)
            if (shift > 62).any():
                cursor.fail("shift", "a value is above 62")
            parameters = (multiplier, shift)
        else:
            scale = required(cursor, "scale", "f4", out)
            parameters = (scale,)
        symbols = read_stream(cursor, -128, 127, inputs * out)
        weight = symbols.astype(np.int8).reshape(inputs, out).T
        layers.append((weight, bias, *parameters))
    cursor.finish("integer decoder")
    return Decoder(INTEGER_DECODER, layers)


def read_float32_decoder(cursor: Cursor) -> Decoder:
    """A section of kind 4."""
    layers = []
    out: int | None = None
    for _ in range(cursor.varint("layer count", 1, 8)):
        inputs, out = read_layer_sizes(cursor, out)
        bias = cursor.array("f4", out, "bias")
        weight = cursor.array("f4", out * inputs, "weight").reshape(out, inputs)
        layers.append((weight, bias))
    cursor.finish("float32 decoder")
    return Decoder(FLOAT32_DECODER, layers)


def read_latents(
    cursor: Cursor, elements: int, decoders: Mapping[int, Decoder], file_bytes: int
) -> npt.NDArray[np.float32]:
    """A section of kind 2: the chunks that its tensors' elements are cut into."""
    number = cursor.varint("decoder")
    if number not in decoders:
        cursor.fail("decoder", f"{number} is no section of kind 3 or 4")
    decoder = decoders[number]
    length = cursor.varint("chunk length", 1, 1 << 20)
    if length != decoder.chunk_length:
        cursor.fail("chunk length", f"{length} is not the decoder's {decoder.chunk_length} outputs")
    count = cursor.varint("chunk count", 1, 1 << 32)
    if count * decoder.multiplications > MAX_WORK * file_bytes:
        cursor.fail("chunk count", f"decoding takes above {MAX_WORK} products a byte of the file")
    latent = cursor.varint("latent", 1, 65_536)
    if latent != decoder.latent:
        cursor.fail("latent", f"{latent} is not the decoder's {decoder.latent} inputs")
    padding = cursor.varint("padding", 0, length - 1)
    if elements != count * length - padding:
        cursor.fail(
            "padding",
            f"the section has {count * length - padding} elements, its tensors {elements}",
        )
    if decoder.kind == INTEGER_DECODER:
        symbols = read_stream(cursor, -128, 127, latent * count)
        latents = symbols.astype(np.int8).reshape(latent, count).T
    else:
        latents = cursor.array("f4", count * latent, "latents").reshape(count, latent)
    cursor.finish("latents")
    return decoder.forward(latents)


def owners_of_latents(
    index: Index, cursors: Sequence[Cursor], bases: Mapping[int, int | None]
) -> dict[int, int]:
    """By latents section: the section whose tensors it makes, itself or the one it is the base of.

    ``bases`` are those of the residual sections.
    """
    owners = {
        number: number for number, entry in enumerate(index.sections) if entry.kind == LATENTS
    }
    for number, base in bases.items():
        if base is None:
            continue
        if owners.get(base) != base or index.tensors_of(base):
            cursors[number].fail("base section", f"{base} is no latents section of this one alone")
        owners[base] = number
    return owners


def elements_of(index: Index, section: int) -> int:
    """How many elements the tensors of a section have."""
    return sum(tensor.elements for tensor in index.tensors_of(section))


def read_raw_tensors(cursor: Cursor, tensors: list[Tensor]) -> list[npt.NDArray[Any]]:
    """A section of kind 1: the arrays of the tensors that name it."""
    arrays = []
    for tensor in tensors:
        field = f"tensor {tensor.name!r}"
        raw = np.frombuffer(cursor.take(tensor.nbytes, field), np.uint8)
        if tensor.dtype == np.bool_ and (raw > 1).any():
            cursor.fail(field, "a bool byte is neither 0 nor 1")
        little = raw.view(tensor.dtype.newbyteorder("<"))
        arrays.append(little.astype(tensor.dtype).reshape(tensor.shape))
    cursor.finish("raw section")
    return arrays


def decode(
    data: bytes, external: Mapping[bytes, bytes] | None = None
) -> dict[str, npt.NDArray[Any]]:
    """All tensors of an archive, in the table's order, by name.

    ``external`` gives the bytes of external sections by their SHA-256 (32 bytes). Aliased names
    share one array. Every CRC, every padding byte and every tensor digest is checked; ArchiveError
    is raised for anything that docs/format.md forbids, UnsupportedVersionError for another format
    version.
    """
    data = bytes(data)
    header = read_header(data)
    index = read_index(header)
    cursors = locate_sections(data, header.end, index.sections, external or {})
    readers = {INTEGER_DECODER: read_integer_decoder, FLOAT32_DECODER: read_float32_decoder}
    decoders = {
        number: readers[entry.kind](cursors[number])
        for number, entry in enumerate(index.sections)
        if entry.kind in readers
    }
    residuals = {
        number: read_residual(
            cursors[number], [tensor.shape for tensor in index.tensors_of(number)]
        )
        for number, entry in enumerate(index.sections)
        if entry.kind == RESIDUAL
    }
    owners = owners_of_latents(index, cursors, {s: base for s, (base, _) in residuals.items()})
    chunks = {
        number: read_latents(cursors[number], elements_of(index, owner), decoders, len(data))
        for number, owner in owners.items()
    }
    arrays: dict[str, npt.NDArray[Any]] = {}
    for number, entry in enumerate(index.sections):
        tensors = index.tensors_of(number)
        specs = [(tensor.shape, tensor.dtype) for tensor in tensors]
        if entry.kind == RAW:
            decoded = read_raw_tensors(cursors[number], tensors)
        elif entry.kind == LATENTS and tensors:
            decoded = unchunk(chunks[number], specs)
        elif entry.kind == RESIDUAL:
            base, parts = residuals[number]
            values = np.concatenate([*parts, np.empty(0, np.float32)])
            if base is not None:
                values = add_base(chunks[base].reshape(-1)[: values.size], values)
            decoded = unchunk(values, specs)
        elif entry.kind == LOSSLESS:
            decoded = read_lossless(cursors[number], specs)
        else:
            continue
        arrays.update((tensor.name, array) for tensor, array in zip(tensors, decoded, strict=True))
    for tensor in index.tensors:
        if digest(arrays[tensor.name]) != tensor.digest:
            raise ArchiveError(
                f"digest at offset {tensor.offset}: tensor {tensor.name!r} does not match it"
            )
    return {name: arrays[index.tensors[owner].name] for name, owner in index.names.items()}
