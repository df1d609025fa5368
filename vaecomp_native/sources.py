"""Where archives are read from: memory, files, streams, and whatever fsspec reaches, by byte ranges."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from vaecomp_native import _core

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO

_HEADER_BYTES = 32
# Requests that cross a network cost a round trip each.
_REMOTE_REQUEST, _FILE_REQUEST = 1 << 22, 1 << 18


def open_reader(
    source: Source,
    *,
    threads: int,
    verify: bool,
    mapped: bool = False,
    pack: _core.ArchiveReader | None = None,
) -> _core.ArchiveReader:
    """The native reader of a source; it reads the index now, and sections when they are asked for."""
    options = (verify, threads, pack)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _core.ArchiveReader(source, *options)
    if isinstance(source, str) and "://" in source:
        return _core.ArchiveReader.from_function(*_url_ranges(source), *options)
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if mapped:
            return _core.ArchiveReader(_map(path), *options)
        try:
            return _core.ArchiveReader.from_file(os.fsencode(path), *options)
        except OSError:
            # Python's own error is more exact; and a pipe, say, can only be read through.
            return _core.ArchiveReader(_read_pipe(path), *options)
    if source.seekable():
        return _core.ArchiveReader.from_function(*_file_ranges(source), *options)
    return _core.ArchiveReader(_read_stream(source), *options)


def _read_pipe(path: Path) -> bytes:
    with path.open("rb", buffering=0) as file:
        if file.seekable():
            raise OSError(f"{str(path)!r} cannot be read")
        return _read_stream(file)


def _map(path: Path) -> bytes | mmap.mmap:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return b""  # which cannot be mapped
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


Ranges = tuple[int, int, Callable[[int, int], bytes]]
"""A file's size, how much to ask for at a time, and what reads (offset, size)."""


def _url_ranges(url: str) -> Ranges:
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"'{url}' is read through fsspec; install it: pip install 'vaecomp_native[remote]'"
        ) from None
    filesystem, path = url_to_fs(url)

    def read(offset: int, size: int) -> bytes:
        content: bytes = filesystem.cat_file(path, start=offset, end=offset + size)
        return content

    return filesystem.size(path), _REMOTE_REQUEST, read


def _file_ranges(file: BinaryIO) -> Ranges:
    """The archive reaches from the file's position to its end; the file must stay open."""
    start = file.tell()
    size = file.seek(0, os.SEEK_END) - start
    lock = threading.Lock()

    def read(offset: int, size: int) -> bytes:
        with lock:
            file.seek(start + offset)
            return _read_fully(file.read, size)

    return size, _FILE_REQUEST, read


def _read_stream(stream: BinaryIO) -> bytes:
    """One archive from a stream that cannot seek; what follows it is left there."""
    header = _read_fully(stream.read, _HEADER_BYTES)
    return header + _read_fully(stream.read, _core.archive_bytes(header) - len(header))


def _read_fully(read: Callable[[int], bytes | None], size: int) -> bytes:
    """As many bytes, or fewer if they end before. Takes memory as the bytes come, whatever `size` is."""
    parts = []
    while size > 0:
        part = read(min(size, _REMOTE_REQUEST))
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
