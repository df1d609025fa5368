"""A latent archive made by hand, part by part, so that tests can break the format's rules."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.reference import crc32c, digest, encode_symbols
from vaecomp_native.reference.archive import DTYPES, MAGIC
from vaecomp_native.reference.rans import varint


def string(text: str | bytes) -> bytes:
    """A length-prefixed string."""
    raw = text.encode() if isinstance(text, str) else text
    return varint(len(raw)) + raw


def parameter(values: npt.NDArray[Any] | None) -> bytes:
    """A decoder parameter: absent, one value, or one for each output."""
    if values is None:
        return b"\0"
    return bytes([1 if values.ndim == 0 else 2]) + values.tobytes()


def weight_stream(weight: npt.NDArray[np.int8]) -> bytes:
    """The symbol stream of an integer layer's weights [out, in]."""
    symbols = weight.T.reshape(-1).astype(np.int32)
    return encode_symbols(symbols, [symbols.size])


def integer_decoder(layers: Sequence[tuple[Any, ...]]) -> bytes:
    """A section of kind 3: layers (weight, bias, multiplier, shift), last (weight, bias, scale).

    A parameter is None (absent), one value, or one for each output.
    """
    parts = [varint(len(layers))]
    for weight, *parameters in layers:
        out, inputs = weight.shape
        parts += [varint(inputs), varint(out), *map(parameter, parameters), weight_stream(weight)]
    return b"".join(parts)


def float32_decoder(layers: Sequence[tuple[Any, Any]]) -> bytes:
    """A section of kind 4: layers (weight, bias)."""
    parts = [varint(len(layers))]
    for weight, bias in layers:
        out, inputs = weight.shape
        parts += [varint(inputs), varint(out), bias.tobytes(), weight.tobytes()]
    return b"".join(parts)


def latents_section(numbers: Sequence[int], content: bytes) -> bytes:
    """A section of kind 2: the numbers (decoder, C, K, L, P), then the latents."""
    return b"".join(map(varint, numbers)) + content


def latent_stream(latents: npt.NDArray[np.int8]) -> bytes:
    """The symbol stream of int8 latents [K, L]."""
    symbols = latents.T.reshape(-1).astype(np.int32)
    return encode_symbols(symbols, [symbols.size])


def tensor(name: str | bytes, codec: int, array: npt.NDArray[Any], section: int) -> bytes:
    """The table's entry of a tensor of codec raw or latent."""
    head = string(name) + bytes([codec, DTYPES.index(array.dtype.name), array.ndim])
    shape = b"".join(map(varint, array.shape))
    return head + shape + varint(section) + struct.pack("<Q", digest(array))


def alias(name: str, target: int) -> bytes:
    """The table's entry of an alias."""
    return string(name) + b"\2" + varint(target)


@dataclass
class Archive:
    """The parts of an archive; ``build`` adds sizes and CRCs."""

    metadata: list[tuple[str | bytes, str | bytes]] = field(default_factory=list)
    sections: list[tuple[int, bytes]] = field(default_factory=list)
    tensors: list[bytes] = field(default_factory=list)
    external: set[int] = field(default_factory=set)
    section_flags: int = 0
    index_tail: bytes = b""
    tail: bytes = b""
    version: int = 1
    flags: int = 0
    file_size: int | None = None

    def index(self) -> bytes:
        """The index."""
        parts = [varint(len(self.metadata))]
        parts += [string(text) for pair in self.metadata for text in pair]
        parts.append(varint(len(self.sections)))
        for number, (kind, content) in enumerate(self.sections):
            flags = self.section_flags | (number in self.external)
            entry = bytes([kind, flags]) + varint(len(content))
            parts.append(entry + struct.pack("<I", crc32c(content)))
            if number in self.external:
                parts.append(hashlib.sha256(content).digest())
        return b"".join([*parts, varint(len(self.tensors)), *self.tensors, self.index_tail])

    def build(self) -> bytes:
        """The archive's bytes."""
        index = self.index()
        body = index
        for number, (_, content) in enumerate(self.sections):
            if number not in self.external:
                body += bytes(-(32 + len(body)) % 64) + content
        body += self.tail
        size = 32 + len(body) if self.file_size is None else self.file_size
        head = MAGIC + struct.pack(
            "<HHIQI", self.version, self.flags, len(index), size, crc32c(index)
        )
        return head + struct.pack("<I", crc32c(head)) + body
