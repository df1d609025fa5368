"""Where archives are read from: memory, files, streams, and whatever fsspec reaches, by byte ranges."""

from __future__ import annotations

import errno
import io
import mmap
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from vaecomp_native import _core
from vaecomp_native.io.urls import filesystem_of, is_url, plain, reaching

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
    if isinstance(source, (str, os.PathLike)):
        if is_url(plain(source)):
            return _open_url(plain(source), options)
        path = Path(plain(source))
        if mapped:
            return _core.ArchiveReader(_map(path), *options)
        try:
            return _core.ArchiveReader.from_file(os.fsencode(path), *options)
        except OSError:
            # Python's own error is more exact; and a pipe, say, can only be read through.
            return _core.ArchiveReader(_read_pipe(path), *options)
    if not hasattr(source, "read"):
        raise TypeError(
            f"source is a {type(source).__name__}; give a path, a URL, bytes or a binary file object"
        )
    if isinstance(source, io.TextIOBase):
        raise TypeError("source is a text file; open it with mode 'rb'")
    if getattr(source, "seekable", lambda: False)():
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

WHOLE_LIMIT = 1 << 32
"""Bytes of an archive that is read to memory because its server gives no ranges."""


def _open_url(url: str, options: tuple[Any, ...]) -> _core.ArchiveReader:
    filesystem, path = filesystem_of(url)
    with reaching(url):
        size = filesystem.size(path)
        if size is None or not _gives_ranges(filesystem, path, size):
            with filesystem.open(path, "rb", block_size=0) as stream:
                return _core.ArchiveReader(_read_stream(stream, WHOLE_LIMIT, url), *options)

    def read(offset: int, size: int) -> bytes:
        with reaching(url):
            content: bytes = filesystem.cat_file(path, start=offset, end=offset + size)
        return content

    return _core.ArchiveReader.from_function(size, _REMOTE_REQUEST, read, *options)


def _gives_ranges(filesystem: Any, path: str, size: int) -> bool:
    """Whether parts of a file can be asked for. Some HTTP servers send all of it, whatever is asked."""
    if size == 0 or "http" not in filesystem.protocol:
        return True
    try:
        with filesystem.open(path, "rb", cache_type="none") as file:
            file.seek(size - 1)
            return len(file.read(1)) == 1
    except ValueError:  # fsspec's word for it
        return False


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


def _read_stream(stream: BinaryIO, limit: int | None = None, name: str = "") -> bytes:
    """One archive from a stream that cannot seek; what follows it is left there.

    Raises OSError, with the stream's name, if the archive has more bytes than the limit.
    """
    header = _read_fully(stream.read, _HEADER_BYTES)
    size = _core.archive_bytes(header)
    if limit is not None and size > limit:
        raise OSError(
            errno.EFBIG,
            f"its server gives no parts of a file, and the archive has {size:,} bytes, "
            f"more than {limit:,}; download it first",
            name,
        )
    return header + _read_fully(stream.read, size - len(header))


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
