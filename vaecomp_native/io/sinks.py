"""Writing files to paths, URLs and file objects. A reader sees the old file or the new one."""

from __future__ import annotations

import errno
import io
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from vaecomp_native.errors import OverwriteError
from vaecomp_native.io.urls import Location, filesystem_of, is_url, plain, reaching

Sink = Location | BinaryIO
"""The destination of a file: a path, a URL that fsspec knows, or a binary file object."""

PIECE_BYTES = 1 << 22
"""The bytes that are copied at a time."""
NEW_FILE_MODE = 0o666
"""The permissions of a new file, from which the kernel removes the process's umask."""


def write(out: Sink, data: bytes | memoryview) -> None:
    """Write `data` to a path, a URL or a binary file object.

    A regular file is replaced atomically. An object store shows all of an object or nothing. A
    device, a FIFO, a socket's file object or any other stream gets the bytes as they are. Raises
    OSError.
    """
    if isinstance(out, (str, os.PathLike)):
        if is_url(plain(out)):
            filesystem, name = filesystem_of(plain(out))
            with reaching(plain(out)):
                filesystem.pipe_file(name, bytes(data))
            return
        path = Path(plain(out))
        if is_stream(path):
            with path.open("wb", buffering=0) as file:
                _write_fully(cast(BinaryIO, file), data)
            return
        with replacing(path) as temporary:
            temporary.write_bytes(data)
        return
    _write_fully(out, data)


@contextmanager
def flushing(path: Path) -> Iterator[None]:
    """Flush a written file to the device while the block runs, which need not wait for it."""
    with ThreadPoolExecutor(1) as flusher:
        flushed = flusher.submit(_flush, path)
        yield
        flushed.result()


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def filling(out: Sink) -> Iterator[Path]:
    """Give the path of an empty file; when the block ends well, `out` gets what is in it then.

    A path is replaced as by `replacing`. Everything else gets a copy, as by `write`. Raises
    OSError.
    """
    if isinstance(out, (str, os.PathLike)) and directory_of(out) is not None:
        with replacing(plain(out)) as temporary:
            yield temporary
        return
    with tempfile.TemporaryDirectory(prefix="vaecomp-") as directory:
        copy = Path(directory, "file")
        copy.touch()
        yield copy
        _send(copy, out)


def directory_of(out: Sink) -> Path | None:
    """The directory of a regular file; None for a URL, a stream or a file object."""
    if not isinstance(out, (str, os.PathLike)) or is_url(plain(out)):
        return None
    path = Path(plain(out))
    return None if is_stream(path) else Path(os.path.realpath(path)).parent


def _send(copy: Path, out: Sink) -> None:
    """Write a file's bytes to a URL, a stream's path or a file object."""
    if isinstance(out, (str, os.PathLike)) and is_url(plain(out)):
        filesystem, name = filesystem_of(plain(out))
        with reaching(plain(out)):
            filesystem.put_file(str(copy), name)
        return
    with copy.open("rb") as file:
        if not isinstance(out, (str, os.PathLike)):
            _copy_fully(file, out)
            return
        with Path(plain(out)).open("wb", buffering=0) as stream:
            _copy_fully(file, cast(BinaryIO, stream))


def _copy_fully(file: BinaryIO, out: BinaryIO) -> None:
    while piece := file.read(PIECE_BYTES):
        _write_fully(out, piece)


def check_room(directory: Path, size: int) -> None:
    """Raise OSError if a directory's disk has no room for so many bytes, before hours of work."""
    free = shutil.disk_usage(directory).free
    if free < size:
        problem = f"has {free:,} bytes free, and about {size:,} are needed; free some space"
        raise OSError(errno.ENOSPC, problem, str(directory))


def reserve(file: BinaryIO, size: int) -> None:
    """Give an empty file its size. Raises OSError at once if the disk has no room for it."""
    if size and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)


@contextmanager
def replacing(path: str | os.PathLike[str], part: Path | None = None) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well, it takes `path`'s place.

    The temporary file is `part`, if one is given, whatever a killed run has left there.

    A symbolic link stays, and the file that it points to is replaced. The new file has the
    permissions of the old one, or those of any new file. The file is flushed to the device before
    the rename, and the directory after it. If the block raises anything, KeyboardInterrupt
    included, the temporary file is removed and `path` stays as it was. Raises OSError.
    """
    target = Path(os.path.realpath(path))
    old = _status(target)
    if old is not None and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
    mode = NEW_FILE_MODE if old is None else 0o600
    if part is None:
        temporary = _new_file_beside(target, mode)
    else:
        temporary = part
        temporary.unlink(missing_ok=True)
        _make_file(temporary, mode)
    try:
        yield temporary
        if old is not None:
            _copy_permissions(old, temporary)
        _flush(temporary)
        temporary.replace(target)
        _sync_directory(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def is_stream(path: Path) -> bool:
    """Whether a path leads to a device or a FIFO, which takes bytes but cannot be replaced."""
    status = _status(path)
    return status is not None and not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode))


def check_output(out: Sink, inputs: Iterable[Location] = ()) -> None:
    """Check that `out` can be written and is none of the `inputs`, before hours of work.

    Raises OverwriteError if `out` and an input are one file, by whatever names, TypeError if `out`
    is not a path, a URL or a binary file object, and OSError if no file can be written there.
    """
    if not isinstance(out, (str, os.PathLike)) and not hasattr(out, "write"):
        raise TypeError(
            f"out is a {type(out).__name__}; give a path, a URL or a binary file object"
        )
    if isinstance(out, io.TextIOBase):
        raise TypeError("out is a text file; open it with mode 'wb'")
    status = _status_of_sink(out)
    if status is not None:
        for place in inputs:
            other = None if is_url(plain(place)) else _status(Path(plain(place)))
            if other is not None and os.path.samestat(status, other):
                raise OverwriteError(
                    f"{plain(place)}: is read and would be replaced; write to another file"
                )
    elif isinstance(out, (str, os.PathLike)) and is_url(plain(out)):
        for place in inputs:
            if plain(place) == plain(out):
                raise OverwriteError(f"{place}: is read and would be replaced; name another")
        filesystem_of(plain(out))
        return
    if isinstance(out, (str, os.PathLike)):
        _check_path(Path(plain(out)), status)


def _check_path(path: Path, status: os.stat_result | None) -> None:
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a directory; name a file in it", str(path))
    if status is not None and stat.S_ISSOCK(status.st_mode):
        raise OSError(errno.ENXIO, "is a socket; connect to it and give a file object", str(path))
    if status is not None and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    if is_stream(path):
        return
    parent = Path(os.path.realpath(path)).parent
    if _status(parent) is None:
        raise FileNotFoundError(
            errno.ENOENT, "the directory does not exist; create it first", str(parent)
        )
    if not parent.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(parent))
    if not os.access(parent, os.W_OK | os.X_OK):
        raise PermissionError(
            errno.EACCES, "no permission to write there; write elsewhere", str(parent)
        )
    if len(os.fsencode(path.name)) > os.pathconf(parent, "PC_NAME_MAX"):
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), str(path))


def _status_of_sink(out: Sink) -> os.stat_result | None:
    """Return the status of the file that `out` leads to now; None if there is no such file."""
    if isinstance(out, (str, os.PathLike)):
        return None if is_url(plain(out)) else _status(Path(plain(out)))
    try:
        return os.fstat(out.fileno())
    except (AttributeError, OSError, ValueError):
        return None  # a file object in memory, for example


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _new_file_beside(target: Path, mode: int) -> Path:
    """Make an empty file in the target's directory.

    Its name is short, because a long name of the target may leave no room for a suffix.
    """
    while True:
        path = target.parent / f".vaecomp-{secrets.token_hex(8)}.tmp"
        with suppress(FileExistsError):
            _make_file(path, mode)
            return path


def _make_file(path: Path, mode: int) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))


def _copy_permissions(old: os.stat_result, path: Path) -> None:
    # Only a privileged process may give its files to another user.
    with suppress(PermissionError):
        os.chown(path, old.st_uid, old.st_gid)
    path.chmod(stat.S_IMODE(old.st_mode))


def _sync_directory(directory: Path) -> None:
    # Some file systems cannot sync a directory. The rename is atomic there, too.
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_fully(file: BinaryIO, data: bytes | memoryview) -> None:
    """Write all of `data`, since one call of an unbuffered file may write only a part."""
    rest = memoryview(data)
    while rest:
        written = file.write(rest)
        if written is None and isinstance(file, io.RawIOBase):
            raise BlockingIOError(errno.EAGAIN, "takes no more bytes now; give a blocking file")
        rest = rest[len(rest) if written is None else written :]
    flush = getattr(file, "flush", None)
    if flush is not None:
        flush()
