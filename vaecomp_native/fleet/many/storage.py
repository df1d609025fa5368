"""Where a fleet's files are: on local paths, or at URLs that fsspec reaches."""

from __future__ import annotations

import base64
import glob
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from vaecomp_native.errors import VaecompError
from vaecomp_native.io.urls import Location, filesystem_of, is_url, plain

_MAGIC = frozenset("*?[")
_BLOCK = 1 << 22


def find_files(files: Location | Sequence[Location]) -> dict[str, str]:
    """Files by their names, without suffix.

    Names are, of a pattern, the paths below its fixed part: `users/*/model.safetensors` gives
    `alice/model` and `bob/model`, in this order. Of a sequence they are the files' own names.

    Raises VaecompError if nothing is found or two files have one name, ModuleNotFoundError for a
    URL without fsspec.
    """
    if isinstance(files, (str, os.PathLike)):
        found = sorted(_matching(plain(files)))
        if not found:
            raise VaecompError(f"no file matches '{os.fspath(files)}'; check the pattern")
    else:
        found = [(PurePosixPath(place).name, place) for place in map(plain, files)]
        if not found:
            raise VaecompError("there are no members: give at least one file")
    named: dict[str, str] = {}
    for path, place in found:
        name = str(PurePosixPath(path).with_suffix(""))
        if name in named:
            raise VaecompError(
                f"'{named[name]}' and '{place}' have the same name '{name}'; "
                "rename one, or give a pattern over their directories"
            )
        named[name] = place
    return named


def join(directory: Location, name: str) -> str:
    """The file `name`, which may have directories, in a directory or below a URL."""
    place = plain(directory)
    return f"{place.rstrip('/')}/{name}" if is_url(place) else str(Path(place, name))


def make_directory(directory: Location) -> None:
    """Make a local directory and its parents; object stores have none.

    Raises VaecompError if it is a file.
    """
    place = plain(directory)
    if is_url(place):
        filesystem_of(place)
        return
    try:
        Path(place).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise VaecompError(f"{place} is not a directory; name another") from None


def read(place: Location) -> bytes:
    """All of a file. Raises OSError."""
    place = plain(place)
    if not is_url(place):
        return Path(place).read_bytes()
    filesystem, path = filesystem_of(place)
    data: bytes = filesystem.cat_file(path)
    return data


@contextmanager
def local_copy(place: str) -> Iterator[Path]:
    """A file on the local disk while the block runs: the file itself, or what a URL holds.

    Raises OSError.
    """
    if not is_url(place):
        yield Path(place)
        return
    filesystem, path = filesystem_of(place)
    with tempfile.TemporaryDirectory(prefix="vaecomp-") as directory:
        copy = Path(directory, PurePosixPath(path).name)
        filesystem.get_file(path, str(copy))
        yield copy


@contextmanager
def output(place: str) -> Iterator[Path]:
    """A local path to write a file to, in a directory that is there.

    For a URL the path is temporary, and its file goes to the URL when the block ends well. The
    block writes a local file atomically; object stores show all of an object or nothing. Raises
    OSError.
    """
    if not is_url(place):
        path = Path(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path
        return
    filesystem, name = filesystem_of(place)
    with tempfile.TemporaryDirectory(prefix="vaecomp-") as directory:
        copy = Path(directory, PurePosixPath(name).name)
        yield copy
        filesystem.put_file(str(copy), name)


def sha256(path: Path) -> str:
    """A local file's SHA-256 in base64, as in subresource integrity. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return base64.b64encode(digest.digest()).decode()


def _matching(pattern: str) -> Iterator[tuple[str, str]]:
    """Paths below the pattern's fixed part, with the files' places."""
    if is_url(pattern):
        filesystem, path = filesystem_of(pattern)
        entries = filesystem.glob(path, detail=True)
        files = [name for name, entry in entries.items() if entry["type"] == "file"]
        for name in files:
            yield os.path.relpath(name, _fixed_part(path)), filesystem.unstrip_protocol(name)
        return
    if Path(pattern).is_file():  # its name may have brackets
        yield Path(pattern).name, pattern
        return
    for name in glob.iglob(pattern, recursive=True):
        if Path(name).is_file():
            yield os.path.relpath(name, _fixed_part(pattern)), name


def _fixed_part(pattern: str) -> str:
    """The directories of a pattern before the first part that stands for several."""
    *directories, _ = Path(pattern).parts
    fixed = []
    for part in directories:
        if _MAGIC & set(part):
            break
        fixed.append(part)
    return str(Path(*fixed))
