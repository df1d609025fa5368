"""Reading a latent archive: an independent implementation of docs/format.md."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.errors import ArchiveError, MissingPackError, UnsupportedVersionError
from vaecomp_native.reference.checks import crc32c, digest
from vaecomp_native.reference.chunk import unchunk
from vaecomp_native.reference.cursor import Cursor
from vaecomp_native.reference.differences import MANTISSA_BITS, read_differences
from vaecomp_native.reference.dtypes import DTYPES, REAL_FLOATS, dtype_name, numpy_dtype
from vaecomp_native.reference.fleet import (
    MAX_OUTPUTS,
    Fleet,
    member_values,
    read_fleet,
    read_member,
)
from vaecomp_native.reference.linear_f32 import decoder_f32
from vaecomp_native.reference.linear_i8 import decoder_i8
from vaecomp_native.reference.lossless import read_lossless
from vaecomp_native.reference.quantized import add_base, read_quantized
from vaecomp_native.reference.rans import read_stream

Array = npt.NDArray[Any]

MAGIC = b"\x89VAEC\r\n\x1a"
VERSION = 1
ALIGNMENT = 64
MAX_EXPANSION = 1 << 17
MAX_WORK = 1 << 24
# NumPy makes no array of more than 2^63 - 1 bytes, not even an empty one of such a shape.
MAX_ELEMENTS = ((1 << 63) - 1) // 16

MAX_INDEX = 1 << 30
# Front coding lets few bytes of the index stand for many bytes of names.
MAX_NAME_BYTES = 1 << 26

RAW, LATENTS, INTEGER_DECODER, FLOAT32_DECODER, QUANTIZED, FLEET, LOSSLESS, MEMBER, DIFFERENCES = (
    range(1, 10)
)
RAW_CODEC, LATENT_CODEC, ALIAS_CODEC, RESIDUAL_CODEC, LOSSLESS_CODEC = 0, 1, 2, 3, 4
MEMBER_CODEC, SHARED_CODEC, DIFFERENCES_CODEC = 5, 6, 7
# The kind of the section that holds a codec's tensors.
HOMES = {
    RAW_CODEC: RAW,
    LATENT_CODEC: LATENTS,
    RESIDUAL_CODEC: QUANTIZED,
    LOSSLESS_CODEC: LOSSLESS,
    MEMBER_CODEC: MEMBER,
    DIFFERENCES_CODEC: DIFFERENCES,
}
MEMBER_FLAG = 1
ABSENT, ONE, EACH = 0, 1, 2
MAX_WIDTH = 1 << 20


@dataclass(frozen=True)
class SectionEntry:
    """A section as the index describes it."""

    kind: int
    size: int
    crc: int


@dataclass(frozen=True)
class Tensor:
    """A tensor with data of its own; ``offset`` is its digest's place in the file."""

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
    """The sections, the tensors with data of their own, and the owner of each name's data."""

    sections: list[SectionEntry]
    tensors: list[Tensor]
    names: dict[str, str]

    def tensors_of(self, section: int) -> list[Tensor]:
        """The tensors that name a section, in the table's order."""
        return [tensor for tensor in self.tensors if tensor.section == section]


@dataclass(frozen=True)
class Decoder:
    """A section's decoder. Its kind tells whether ``decoder_i8`` or ``decoder_f32`` runs it."""

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
        """The number of products per chunk, which is the number of weights."""
        return sum(layer[0].size for layer in self.layers)

    def forward(self, latents: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Decode latents [K, L] to chunks float32 [K, C]."""
        if self.kind == INTEGER_DECODER:
            return decoder_i8(self.layers, latents)
        return decoder_f32(self.layers, latents)


def read_header(data: bytes) -> tuple[Cursor, bool]:
    """Check the header. Return a cursor over the index, and whether the file is a member."""
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
        ("flags", 10, f"they are {flags:#x}" if flags > MEMBER_FLAG else ""),
        ("index size", 12, f"{index_size} is above 2^30" if index_size > MAX_INDEX else ""),
        ("file size", 16, f"{file_size} is not {len(data)}" if file_size != len(data) else ""),
    ):
        if problem:
            cursor.field_offset = offset
            cursor.fail(field, problem)
    if crc32c(cursor.take(index_size, "index")) != index_crc:
        cursor.fail("index", "its CRC-32C does not match")
    return cursor.last_taken(), flags == MEMBER_FLAG


def read_sections(cursor: Cursor, is_member: bool) -> list[SectionEntry]:
    """Read the entries of the sections.

    A pack has at most one section of a fleet, and a member at most one of its latents.
    """
    entries: list[SectionEntry] = []
    for _ in range(cursor.varint("section count", high=65_536)):
        kind = cursor.unpack("B", "section kind")
        elsewhere = (FLEET,) if is_member else (MEMBER, DIFFERENCES)
        if not RAW <= kind <= DIFFERENCES or kind in elsewhere:
            cursor.fail("section kind", f"kind {kind} is not known, or not in this kind of file")
        if kind in (FLEET, MEMBER) and any(entry.kind == kind for entry in entries):
            cursor.fail("section kind", f"a second section of kind {kind}")
        if flags := cursor.unpack("B", "section flags"):
            cursor.fail("section flags", f"they are {flags:#x}, not 0")
        size = cursor.varint("section size")
        entries.append(SectionEntry(kind, size, cursor.unpack("I", "section CRC-32C")))
    return entries


def read_dtype(cursor: Cursor, codec: int) -> np.dtype[Any]:
    """Read a tensor's dtype. Latent and quantized tensors have a floating-point dtype."""
    number = cursor.unpack("B", "dtype")
    if number >= len(DTYPES):
        cursor.fail("dtype", f"dtype {number} is not known in version {VERSION}")
    name = DTYPES[number]
    if codec in (LATENT_CODEC, RESIDUAL_CODEC) and name not in REAL_FLOATS:
        cursor.fail("dtype", f"a tensor of dtype {name} cannot be made from floats")
    return numpy_dtype(name)


def is_real_float(dtype: np.dtype[Any]) -> bool:
    """Whether tensors of a dtype can be made from float32 values."""
    return dtype_name(dtype) in REAL_FLOATS


class TensorTable:
    """The table of tensors while it is read; all tensors together may have ``room`` bytes."""

    def __init__(self, cursor: Cursor, sections: list[SectionEntry], room: int) -> None:
        self.cursor = cursor
        self.sections = sections
        self.room = room
        self.tensors: list[Tensor] = []
        self.names: dict[str, str] = {}

    def index(self) -> Index:
        """Return the table that has been read."""
        return Index(self.sections, self.tensors, self.names)

    def read_home(
        self, name: str, codec: int, dtype: np.dtype[Any], shape: tuple[int, ...]
    ) -> None:
        """Read the section and the digest of a tensor with data of its own."""
        cursor = self.cursor
        section = cursor.varint("tensor's section")
        if section >= len(self.sections) or self.sections[section].kind != HOMES[codec]:
            cursor.fail("tensor's section", f"{section} is no section of kind {HOMES[codec]}")
        digest_ = cursor.unpack("Q", "digest")
        self.tensors.append(Tensor(name, dtype, shape, section, digest_, cursor.field_offset))
        self.names[name] = name

    def take_room(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        """Take a tensor's bytes off the room that is left."""
        self.room -= math.prod(shape) * dtype.itemsize
        if self.room < 0:
            self.cursor.fail(
                "shape", f"all tensors have more than {MAX_EXPANSION} times the file's bytes"
            )

    def read_own(self, name: str, codec: int) -> None:
        """Read the fields behind the codec of a tensor with data of its own."""
        cursor = self.cursor
        dtype = read_dtype(cursor, codec)
        rank = cursor.unpack("B", "rank")
        if rank > 32:
            cursor.fail("rank", f"{rank} is above 32")
        shape = tuple(cursor.varint("shape") for _ in range(rank))
        if math.prod(max(length, 1) for length in shape) > MAX_ELEMENTS:
            cursor.fail("shape", f"the product of {shape}, zeros left out, exceeds {MAX_ELEMENTS}")
        self.take_room(dtype, shape)
        self.read_home(name, codec, dtype, shape)

    def read_alias(self, name: str) -> None:
        """Read an alias, which is another name of an earlier tensor."""
        target = self.cursor.varint("alias")
        earlier = list(self.names.items())
        if target >= len(earlier) or earlier[target][0] != earlier[target][1]:
            self.cursor.fail("alias", f"{target} is no earlier tensor with data of its own")
        self.names[name] = earlier[target][1]

    def read(self) -> Index:
        """Read the table of a file that is not a member."""
        cursor = self.cursor
        name_room, raw_name = MAX_NAME_BYTES, b""
        for _ in range(cursor.varint("tensor count", high=1 << 24)):
            raw_name = cursor.front_coded("tensor name", raw_name, name_room)
            name = raw_name.decode()
            name_room -= len(raw_name)
            if name in self.names:
                cursor.fail("tensor name", f"{name!r} stands in the table twice")
            codec = cursor.unpack("B", "codec")
            if codec == ALIAS_CODEC:
                self.read_alias(name)
            elif codec in HOMES and codec not in (MEMBER_CODEC, DIFFERENCES_CODEC):
                self.read_own(name, codec)
            else:
                cursor.fail("codec", f"codec {codec} is not known in version {VERSION}")
        return self.index()

    def read_of_member(self, pack: Index) -> Index:
        """Read the table of a member, which has the tensors of its pack with other values."""
        own = {tensor.name: tensor for tensor in pack.tensors}
        for name, owner in pack.names.items():
            if name != owner:
                self.names[name] = owner
                continue
            tensor = own[name]
            codec = self.cursor.unpack("B", "codec")
            if codec == SHARED_CODEC:
                self.names[name] = name
                continue
            if codec not in HOMES:
                self.cursor.fail("codec", f"{codec} is none of a member's")
            floats = codec in (LATENT_CODEC, RESIDUAL_CODEC, MEMBER_CODEC)
            if floats and not is_real_float(tensor.dtype):
                self.cursor.fail(
                    "codec", f"a {dtype_name(tensor.dtype)} cannot be made from floats"
                )
            if codec == DIFFERENCES_CODEC and dtype_name(tensor.dtype) not in MANTISSA_BITS:
                self.cursor.fail("codec", f"a {dtype_name(tensor.dtype)} has no differences")
            self.take_room(tensor.dtype, tensor.shape)
            self.read_home(name, codec, tensor.dtype, tensor.shape)
        return self.index()


def skip_metadata(cursor: Cursor) -> None:
    """Check the metadata and skip them."""
    keys: set[str] = set()
    for _ in range(cursor.varint("metadata count", high=65_536)):
        key = cursor.string("metadata key")
        if key in keys:
            cursor.fail("metadata key", f"{key!r} stands in the metadata twice")
        keys.add(key)
        cursor.string("metadata value")


def read_index(cursor: Cursor, pack: Contents | None) -> Index:
    """Read the whole index; a member needs its pack for it."""
    if pack is not None:
        check_pack(cursor, pack)
    skip_metadata(cursor)
    room = MAX_EXPANSION * (len(cursor.data) + (len(pack.data) if pack else 0))
    table = TensorTable(cursor, read_sections(cursor, pack is not None), room)
    index = table.read() if pack is None else table.read_of_member(pack.index)
    cursor.finish("index")
    return index


def checked_bytes(kind: int, section: Cursor) -> bytes:
    """Return the bytes that a section's CRC covers: all, or the head with the head's size."""
    end = section.end
    if kind in (QUANTIZED, LOSSLESS, DIFFERENCES):
        end = Cursor(section.data, section.position, section.end).head().end
    return section.data[section.position : end]


def locate_sections(data: bytes, start: int, entries: list[SectionEntry]) -> list[Cursor]:
    """Make a cursor over each section's bytes; ``start`` is the end of the index."""
    file = Cursor(data, start)
    cursors = []
    for number, entry in enumerate(entries):
        padding = -file.position % ALIGNMENT if entry.kind == RAW else 0
        if file.take(padding, "padding").strip(b"\0"):
            file.fail("padding", "a byte is not zero")
        file.take(entry.size, f"section {number}")
        cursor = file.last_taken()
        if crc32c(checked_bytes(entry.kind, cursor)) != entry.crc:
            cursor.fail(f"section {number}", "its CRC-32C does not match")
        cursors.append(cursor)
    file.finish("file")
    return cursors


def read_parameter(cursor: Cursor, field: str, dtype: str, count: int) -> npt.NDArray[Any] | None:
    """Read a layer's parameter, one value for each of ``count`` outputs; None if it is absent."""
    form = cursor.unpack("B", f"{field} form")
    if form == ABSENT:
        return None
    if form not in (ONE, EACH):
        cursor.fail(f"{field} form", f"{form} is none of 0, 1 and 2")
    values = cursor.array(dtype, 1 if form == ONE else count, field)
    return np.broadcast_to(values, count)


def required(cursor: Cursor, field: str, dtype: str, count: int) -> npt.NDArray[Any]:
    """Read a parameter that may not be absent."""
    values = read_parameter(cursor, field, dtype, count)
    if values is None:
        cursor.fail(f"{field} form", "only a bias may be absent")
    return values


def read_layer_sizes(
    cursor: Cursor, previous: int | None, max_out: int = MAX_WIDTH
) -> tuple[int, int]:
    """Read a decoder layer's numbers of inputs and outputs."""
    inputs = cursor.varint("layer's in", 1, MAX_WIDTH)
    if previous not in (None, inputs):
        cursor.fail("layer's in", f"{inputs} is not the previous layer's out, {previous}")
    return inputs, cursor.varint("layer's out", 1, max_out)


def read_integer_decoder(cursor: Cursor, room: int) -> Decoder:
    """Read a section of kind 3, whose layers may claim ``room`` bytes."""
    layers: list[Any] = []
    layer_count = cursor.varint("layer count", 1, 8)
    out: int | None = None
    for number in range(layer_count):
        last = number == layer_count - 1
        inputs, out = read_layer_sizes(cursor, out, MAX_OUTPUTS if last else MAX_WIDTH)
        room -= (inputs + 8) * out
        if room < 0:
            cursor.fail("layer's out", f"{out} claims more than the file's size allows")
        bias = read_parameter(cursor, "bias", "i4", out)
        if bias is None:
            bias = np.zeros(out, np.int32)
        parameters: tuple[npt.NDArray[Any], ...]
        if not last:
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
    """Read a section of kind 4."""
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
    """Read a section of kind 2 and decode its chunks, float32 [K, C].

    ``elements`` is the number of elements of the section's tensors.
    """
    number = cursor.varint("decoder")
    if number not in decoders:
        cursor.fail("decoder", f"{number} is no section of kind 3 or 4")
    decoder = decoders[number]
    length = cursor.varint("chunk length", 1, MAX_WIDTH)
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
    """Find the section whose tensors each section of latents makes.

    It is the section itself, or the quantized section that has it as its base. ``bases`` maps the
    quantized sections to their bases.
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
    """Return the number of elements of a section's tensors."""
    return sum(tensor.elements for tensor in index.tensors_of(section))


def read_raw_tensors(cursor: Cursor, tensors: list[Tensor]) -> list[npt.NDArray[Any]]:
    """Read a section of kind 1: the arrays of the tensors that name it."""
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


@dataclass(frozen=True)
class Contents:
    """An archive whose sections are located, and whose decoders and fleet are read."""

    data: bytes
    index: Index
    cursors: list[Cursor]
    decoders: dict[int, Decoder]
    fleet: Fleet | None


def places_of(index: Index) -> dict[int, Tensor]:
    """Return the tensors with data of their own by their place in the table."""
    own = {tensor.name: tensor for tensor in index.tensors}
    return {
        place: own[name]
        for place, (name, owner) in enumerate(index.names.items())
        if name == owner and name in own
    }


def read_fleet_of(
    data: bytes, index: Index, cursors: list[Cursor], decoders: dict[int, Decoder]
) -> Fleet | None:
    """Read the section of a pack's fleet; None if the file has none."""
    sizes: list[int | None] = [None] * len(index.names)
    for place, tensor in places_of(index).items():
        sizes[place] = tensor.elements if is_real_float(tensor.dtype) else None
    integer = {n: decoder for n, decoder in decoders.items() if decoder.kind == INTEGER_DECODER}
    for number, entry in enumerate(index.sections):
        if entry.kind == FLEET:
            return read_fleet(cursors[number], sizes, integer, MAX_WORK * len(data))
    return None


def missing_pack(wanted: bytes) -> MissingPackError:
    """Make the error for a member without its pack."""
    return MissingPackError(
        f"pack at offset 32: this is a member of the pack with sha256 {wanted.hex()}"
    )


def check_pack(cursor: Cursor, pack: Contents) -> None:
    """Check that a member belongs to a pack; ``cursor`` is at the start of the member's index."""
    wanted = cursor.take(32, "pack")
    if hashlib.sha256(pack.data).digest() != wanted:
        raise missing_pack(wanted)
    if pack.fleet is None:
        cursor.fail("pack", "the file that it names has no fleet section")


def read_contents(data: bytes, pack: Contents | None) -> Contents:
    """Read the header, the index, the decoders and the fleet of an archive."""
    header, is_member = read_header(data)
    if is_member and pack is None:
        raise missing_pack(header.take(32, "pack"))
    index = read_index(header, pack if is_member else None)
    cursors = locate_sections(data, header.end, index.sections)
    room = MAX_EXPANSION * (len(data) + (len(pack.data) if pack and is_member else 0))
    decoders = {}
    for number, entry in enumerate(index.sections):
        if entry.kind == INTEGER_DECODER:
            decoders[number] = read_integer_decoder(cursors[number], room)
        elif entry.kind == FLOAT32_DECODER:
            decoders[number] = read_float32_decoder(cursors[number])
    return Contents(data, index, cursors, decoders, read_fleet_of(data, index, cursors, decoders))


def decode(data: bytes, pack: bytes | None = None) -> dict[str, Array]:
    """Decode all tensors of an archive, by name and in the table's order.

    ``pack`` is the file whose tensors and decoders a member needs. Aliased names share one array.
    Every CRC, every padding byte and every tensor digest is checked. Raises ArchiveError for
    anything that docs/format.md forbids, MissingPackError for a member without its pack, and
    UnsupportedVersionError for another format version.
    """
    data = bytes(data)
    if pack is None or not read_header(data)[1]:
        return decode_contents(read_contents(data, None), {}, {})
    shared = read_contents(bytes(pack), None)
    return decode_member(data, shared, decode_contents(shared, {}, {}))


def decode_member(data: bytes, pack: Contents, base: Mapping[str, Array]) -> dict[str, Array]:
    """Decode all tensors of a member; ``base`` are the tensors of its pack."""
    contents = read_contents(data, pack)
    return decode_contents(contents, base, member_values_of(contents, pack, base))


def member_values_of(
    contents: Contents, pack: Contents, base: Mapping[str, Array]
) -> dict[str, npt.NDArray[np.float32]]:
    """Add the decoders' outputs to the base, by name; empty if the file has no latents."""
    for number, entry in enumerate(contents.index.sections):
        if entry.kind == MEMBER:
            assert pack.fleet is not None
            latents = read_member(contents.cursors[number], pack.fleet)
            floats = {p: t for p, t in places_of(pack.index).items() if is_real_float(t.dtype)}
            arrays = {place: base[tensor.name] for place, tensor in floats.items()}
            values = member_values(pack.fleet, pack.decoders, latents, arrays)
            return {floats[place].name: array for place, array in values.items()}
    return {}


def decode_contents(
    contents: Contents,
    base: Mapping[str, Array],
    values: Mapping[str, npt.NDArray[np.float32]],
) -> dict[str, Array]:
    """Decode the tensors.

    For a member, ``base`` are the pack's tensors, and ``values`` are their sums with the decoders'
    outputs. Both are empty for other files.
    """
    data, index, cursors = contents.data, contents.index, contents.cursors
    quantized = {
        number: read_quantized(
            cursors[number], [tensor.shape for tensor in index.tensors_of(number)]
        )
        for number, entry in enumerate(index.sections)
        if entry.kind == QUANTIZED
    }
    own_bases = {
        number: base_section
        for number, (base_section, _) in quantized.items()
        if base_section is None or not is_member_section(index, base_section)
    }
    owners = owners_of_latents(index, cursors, own_bases)
    chunks = {
        number: read_latents(
            cursors[number], elements_of(index, owner), contents.decoders, len(data)
        )
        for number, owner in owners.items()
    }
    arrays: dict[str, Array] = {}
    for number, entry in enumerate(index.sections):
        tensors = index.tensors_of(number)
        specs = [(tensor.shape, tensor.dtype) for tensor in tensors]
        added = [values.get(tensor.name, np.empty(0, np.float32)) for tensor in tensors]
        if entry.kind == RAW:
            decoded = read_raw_tensors(cursors[number], tensors)
        elif entry.kind == LATENTS and tensors:
            decoded = unchunk(chunks[number], specs)
        elif entry.kind == MEMBER and tensors:
            decoded = unchunk(np.concatenate(added), specs)
        elif entry.kind == QUANTIZED:
            base_section, parts = quantized[number]
            sums = np.concatenate([*parts, np.empty(0, np.float32)])
            if base_section in chunks:
                sums = add_base(chunks[base_section].reshape(-1)[: sums.size], sums)
            elif base_section is not None:
                sums = add_base(np.concatenate([*added, np.empty(0, np.float32)]), sums)
            decoded = unchunk(sums, specs)
        elif entry.kind == LOSSLESS:
            decoded = read_lossless(cursors[number], specs)
        elif entry.kind == DIFFERENCES:
            decoded = read_difference_tensors(cursors[number], index, tensors, base, values)
        else:
            continue
        arrays.update((tensor.name, array) for tensor, array in zip(tensors, decoded, strict=True))
    for tensor in index.tensors:
        if digest(arrays[tensor.name]) != tensor.digest:
            raise ArchiveError(
                f"digest at offset {tensor.offset}: tensor {tensor.name!r} does not match it"
            )
    return {
        name: arrays[owner] if owner in arrays else base[owner]
        for name, owner in index.names.items()
    }


def read_difference_tensors(
    cursor: Cursor,
    index: Index,
    tensors: list[Tensor],
    base: Mapping[str, Array],
    values: Mapping[str, npt.NDArray[np.float32]],
) -> list[Array]:
    """Read a section of kind 9; ``base`` and ``values`` as for `decode_contents`."""

    def predict(section: int | None) -> list[Array]:
        if section is None:
            return [base[tensor.name] for tensor in tensors]
        if not is_member_section(index, section):
            cursor.fail("base section", f"{section} is no member section")
        flat = np.concatenate([*(values[t.name] for t in tensors), np.empty(0, np.float32)])
        return unchunk(flat, [(tensor.shape, tensor.dtype) for tensor in tensors])

    return read_differences(cursor, [tensor.shape for tensor in tensors], predict)


def is_member_section(index: Index, section: int) -> bool:
    """Whether a section holds a member's latents."""
    return section < len(index.sections) and index.sections[section].kind == MEMBER
