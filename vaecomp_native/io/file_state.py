"""Whether a file is still what it was when it was first looked at."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from vaecomp_native.errors import WeightsError


@dataclass(frozen=True)
class FileState:
    """A file's size in bytes, and the time of its last change in nanoseconds."""

    size: int
    changed: int

    @classmethod
    def of(cls, file: Path | int) -> FileState:
        """The state of a path or of an open file. Raises OSError."""
        status = os.stat(file)
        return cls(status.st_size, status.st_mtime_ns)


def check_unchanged(path: Path, before: FileState) -> None:
    """Raise WeightsError if a file is not what it was `before`, or is there no more."""
    try:
        now = FileState.of(path)
    except FileNotFoundError:
        raise WeightsError(f"{path}: has vanished while it was read; bring it back") from None
    if now != before:
        raise WeightsError(f"{path}: has changed while it was read; start again")
