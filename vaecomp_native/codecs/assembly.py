"""Sections into a file: only here an archive's bytes are put together."""

from __future__ import annotations

import io
import tempfile
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.codecs.sections import EncodedTensors, SectionKind
from vaecomp_native.io.sinks import PIECE_BYTES
from vaecomp_native.kernels import digest, digests
from vaecomp_native.opening import decode
from vaecomp_native.state_dict import StateDict

Array = npt.NDArray[Any]
TENSOR_CODECS = {
    "latents": "latent",
    "quantized": "quantized",
    "lossless": "lossless",
    "raw": "raw",
}
"""The name of a tensor's codec, by the kind of its section."""
IN_MEMORY = 1 << 26
"""The bytes of sections from which on a draft lies in a temporary file."""


class Front(NamedTuple):
    """A file's header and index, where each of its sections begins, and its size in bytes."""

    data: bytes
    begins: Sequence[int]
    size: int


class Draft:
    """An archive in the making.

    Its sections are appended to a temporary file without a name as they are made. The archive is
    put together at the end, because its index comes first and tells of all of them.
    """

    def __init__(self, directory: Path | None = None, *, threads: int = 0) -> None:
        """Make an empty draft, whose temporary file lies in `directory`, or where Python says."""
        self._threads = threads
        place = None if directory is None else str(directory)
        self._file = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - it lives as long as the draft
            IN_MEMORY, prefix="vaecomp-", dir=place
        )
        weakref.finalize(self, self._file.close)
        self._sections: list[tuple[SectionKind, int, int]] = []
        self._homes: dict[str, tuple[Any, ...]] = {}

    def add(self, part: EncodedTensors) -> None:
        """Append a codec's sections. Raises OSError if the disk is full."""
        for kind, data in part.sections:
            self.add_section(kind, data)
        codec = TENSOR_CODECS[part.sections[-1][0]]
        known: dict[str, int] = {}
        # Other mappings make an array when it is asked for, and all of them would take much memory.
        if isinstance(part.decoded, dict):
            found = digests(list(part.decoded.values()), threads=self._threads)
            known = dict(zip(part.decoded, found, strict=True))
        for name, array in part.decoded.items():
            own = known[name] if name in known else digest(array, threads=self._threads)
            self._homes[name] = codec, array.shape, array.dtype, len(self._sections) - 1, own

    def add_section(self, kind: SectionKind, data: bytes) -> None:
        """Append a section that no tensor names. Raises OSError if the disk is full."""
        if self._file.tell() + len(data) > IN_MEMORY:
            self._file.rollover()  # before the file's memory grows by all of a large section
        self._file.write(data)
        self._sections.append((kind, len(data), _core.section_crc(kind, data)))

    def finish(
        self, names: Sequence[str], aliases: Mapping[str, str], metadata: Mapping[str, str]
    ) -> Finished:
        """Make the index of all that was added; its tensors have the order of `names`."""
        order = {name: i for i, name in enumerate(names)}
        rows: list[tuple[Any, ...]] = [
            (name, "alias", order[aliases[name]]) if name in aliases else (name, *self._homes[name])
            for name in names
        ]
        front = Front(*_core.write_front(sorted(metadata.items()), self._sections, rows))
        return Finished(self, front)

    def copy_to(self, out: BinaryIO, front: Front) -> None:
        """Write the file to `out`, which is empty, in pieces. Raises OSError."""
        self._file.seek(0)
        out.write(front.data)
        for (_, size, _), begin in zip(self._sections, front.begins, strict=True):
            out.write(bytes(begin - out.tell()))
            while size:
                size -= out.write(self._file.read(min(size, PIECE_BYTES)))


class Finished:
    """A draft with its index: all of an archive, but not yet in one file."""

    def __init__(self, draft: Draft, front: Front) -> None:
        """Take a draft to which nothing more is added."""
        self._draft = draft
        self._front = front

    @property
    def size(self) -> int:
        """Bytes of the archive."""
        return self._front.size

    def write(self, path: Path) -> None:
        """Put the archive together in a file. Raises OSError."""
        with path.open("wb") as file:
            self._draft.copy_to(file, self._front)

    def to_bytes(self) -> bytes:
        """The archive in memory."""
        file = io.BytesIO()
        self._draft.copy_to(file, self._front)
        return file.getvalue()

    def decode(self, threads: int) -> dict[str, Array]:
        """Decode the archive, as `vaecomp_native.decode` does."""
        with tempfile.TemporaryFile(prefix="vaecomp-") as file:
            self._draft.copy_to(file, self._front)
            file.seek(0)
            return decode(file, threads=threads)


def draft_of(
    state: StateDict,
    encoded: Iterable[EncodedTensors],
    more: Iterable[tuple[SectionKind, bytes]] = (),
    *,
    threads: int = 0,
) -> Finished:
    """Make the draft of an archive.

    Tensors are listed in the state dict's order. The sections `more` follow those of the tensors.
    """
    draft = Draft(threads=threads)
    for part in encoded:
        draft.add(part)
    for kind, data in more:
        draft.add_section(kind, data)
    return draft.finish(state.names, state.aliases, state.metadata)


def assemble(
    state: StateDict,
    encoded: Iterable[EncodedTensors],
    more: Iterable[tuple[SectionKind, bytes]] = (),
) -> bytes:
    """Make an archive in memory, of what `draft_of` takes."""
    return draft_of(state, encoded, more).to_bytes()
