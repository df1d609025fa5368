"""Paths and URLs, and the file systems that fsspec finds for URLs."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from vaecomp_native.errors import VaecompError, in_one_line

Location = str | os.PathLike[str]
"""A path, or a URL that fsspec knows."""


def is_url(place: Location) -> bool:
    """Whether a place is a URL. A ``file://`` URL counts, unless `plain` has made it a path."""
    return isinstance(place, str) and "://" in place


def plain(place: Location) -> str:
    """Return the place as text; a ``file://`` URL becomes its path."""
    text = os.fspath(place)
    return unquote(urlsplit(text).path) if text.startswith("file://") else text


def beside(place: Location, name: str) -> str:
    """The place of the file `name` in the directory of another file, on a disk or below a URL."""
    text = plain(place)
    return f"{text.rpartition('/')[0]}/{name}" if is_url(text) else str(Path(text).parent / name)


def filesystem_of(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL, and the path in it.

    Raises ModuleNotFoundError if fsspec or a package for the protocol is not installed, and OSError
    for an unknown protocol.
    """
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"'{url}' is reached through fsspec; install it: pip install 'vaecomp_native[remote]'"
        ) from None
    with reaching(url):
        filesystem, path = url_to_fs(url)
    return filesystem, path


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Turn a file system's own errors into OSError with the URL.

    Failed logins and broken connections are examples of such errors.
    """
    try:
        yield
    except FileNotFoundError as error:
        cause = f" ({in_one_line(error.__cause__)})" if error.__cause__ is not None else ""
        raise FileNotFoundError(
            errno.ENOENT, f"is not there or cannot be reached{cause}", url
        ) from error
    except (OSError, VaecompError):
        raise
    except ImportError as error:
        raise ModuleNotFoundError(
            f"'{url}' needs another package; pip install it: {error}"
        ) from error
    except Exception as error:
        raise OSError(f"{url}: {in_one_line(error)}") from error
