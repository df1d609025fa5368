"""Reading archives by byte ranges: from memory, files, streams and URLs that fsspec knows."""

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
from vaecomp_native.errors import ArchiveError
from vaecomp_native.io.shard_index import ARCHIVE_INDEX_SUFFIX
from vaecomp_native.io.urls import Location, filesystem_of, is_url, plain, reaching

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO

HEADER_BYTES = 32
"""The bytes of an archive's header."""
# Bytes per request. A request over a network costs a round trip, so it asks for more.
_REMOTE_REQUEST, _FILE_REQUEST = 1 << 22, 1 << 18


def open_reader(
    source: Source,
    *,
    threads: int,
    verify: bool,
    mapped: bool = False,
    pack: _core.ArchiveReader | None = None,
) -> _core.ArchiveReader:
    """Open a native reader of a source. It reads the index now and sections when asked for.

    Raises ArchiveError, TypeError if `source` cannot be read from, and OSError.
    """
    options = (verify, threads, pack)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _core.ArchiveReader(source, *options)
    if isinstance(source, (str, os.PathLike)):
        if is_url(plain(source)):
            return _open_url(plain(source), options)
        path = Path(plain(source))
        if path.name.endswith(ARCHIVE_INDEX_SUFFIX):
            raise ArchiveError("is an index of shards, and one file is needed here")
        if mapped:
            return _core.ArchiveReader(_map(path), *options)
        try:
            return _core.ArchiveReader.from_file(os.fsencode(path), *options)
        except OSError:
            # Either the file is a pipe, which cannot be read by ranges, or Python raises an error
            # that is more exact.
            return _core.ArchiveReader(_read_pipe(path), *options)
    if not hasattr(source, "read"):
        raise TypeError(
            f"source is a {type(source).__name__}; "
            "give a path, a URL, bytes or a binary file object"
        )
    if isinstance(source, io.TextIOBase):
        raise TypeError("source is a text file; open it with mode 'rb'")
    if getattr(source, "seekable", lambda: False)():
        return _core.ArchiveReader.from_function(*_file_ranges(source), *options)
    return _core.ArchiveReader(_read_stream(source), *options)


def read_start(place: Location, size: int) -> bytes:
    """Read the first `size` bytes of a path or a URL, or all if there are fewer. Raises OSError."""
    if is_url(plain(place)):
        filesystem, path = filesystem_of(plain(place))
        with reaching(plain(place)):
            content: bytes = filesystem.cat_file(path, start=0, end=size)
        return content[:size]
    with Path(plain(place)).open("rb") as file:
        return _read_fully(file.read, size)


def _read_pipe(path: Path) -> bytes:
    with path.open("rb", buffering=0) as file:
        if file.seekable():
            raise OSError(f"{str(path)!r} cannot be read")
        return _read_stream(file)


def _map(path: Path) -> bytes | mmap.mmap:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return b""  # an empty file cannot be mapped
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


Ranges = tuple[int, int, Callable[[int, int], bytes]]
"""A file's size in bytes, the bytes per request, and a function that reads (offset, size)."""

WHOLE_LIMIT = 1 << 32
"""The largest archive in bytes that is read to memory when its server gives no ranges."""


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
    """Whether a server gives parts of a file. Some HTTP servers always send all of it."""
    if size == 0 or "http" not in filesystem.protocol:
        return True
    try:
        with filesystem.open(path, "rb", cache_type="none") as file:
            file.seek(size - 1)
            return len(file.read(1)) == 1
    except ValueError:  # fsspec raises it if a server gives no ranges
        return False


def _file_ranges(file: BinaryIO) -> Ranges:
    """Read ranges of the archive between a file's position and its end; the file must stay open."""
    start = file.tell()
    size = file.seek(0, os.SEEK_END) - start
    lock = threading.Lock()

    def read(offset: int, size: int) -> bytes:
        with lock:
            file.seek(start + offset)
            return _read_fully(file.read, size)

    return size, _FILE_REQUEST, read


def _read_stream(stream: BinaryIO, limit: int | None = None, name: str = "") -> bytes:
    """Read one archive from a stream that cannot seek; later bytes stay in the stream.

    Raises OSError, with the stream's name, if the archive has more bytes than the limit.
    """
    header = _read_fully(stream.read, HEADER_BYTES)
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
    """Read `size` bytes, or fewer at the end.

    Memory grows with the bytes that arrive, because a damaged header may claim any `size`.
    """
    parts = []
    while size > 0:
        part = read(min(size, _REMOTE_REQUEST))
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
