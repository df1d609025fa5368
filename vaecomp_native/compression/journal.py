"""What an interrupted run has done, so that the same run goes on from there.

The journal lies beside the output while the run lasts, a line of JSON for each thing that is done:
first what the output is made of, then the operating point, then each finished shard. A last line
that a killed process wrote only in part does not count. The file is locked, because two runs with
one output would spoil each other's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from vaecomp_native.compression.choice import RunnerUp
from vaecomp_native.compression.groups import OperatingPoint
from vaecomp_native.compression.losses import Losses
from vaecomp_native.errors import VaecompError

MADE_OF, POINT, SHARD = "made_of", "point", "shard"


@dataclass(frozen=True)
class FinishedShard:
    """A shard that is in its place: its name, its first bytes, its hash, and what it lost."""

    name: str
    start: str
    sha256: str
    bytes: int
    losses: Losses


class Journal:
    """An open journal. Use `opened` to get one."""

    def __init__(self, file: BinaryIO, made_of: Mapping[str, Any]) -> None:
        """Read what is there, and begin anew if it is of another run."""
        self._file = file
        self.point: OperatingPoint | None = None
        self.shards: dict[str, FinishedShard] = {}
        end = self._read(made_of)
        self._file.truncate(end)
        self._file.seek(end)
        if not end:
            self._append({MADE_OF: made_of})

    def begin(self, point: OperatingPoint) -> None:
        """Note the operating point of the shards that follow."""
        self.point, self.shards = point, {}
        self._append({POINT: asdict(point)})

    def finish(self, shard: FinishedShard) -> None:
        """Note that a shard is in its place."""
        self.shards[shard.name] = shard
        self._append({SHARD: asdict(shard)})

    def _append(self, entry: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _read(self, made_of: Mapping[str, Any]) -> int:
        """Take over what the same run has done. Returns the bytes that it wrote whole."""
        self._file.seek(0)
        end = 0
        for line in self._file:
            try:
                entry = json.loads(line)
                if not line.endswith(b"\n") or (end == 0 and entry != {MADE_OF: made_of}):
                    break
                self._take(entry)
            except (ValueError, KeyError, TypeError, AttributeError):
                break
            end += len(line)
        return end

    def _take(self, entry: Mapping[str, Any]) -> None:
        if POINT in entry:
            compared = [RunnerUp(**one) for one in entry[POINT].pop("compared")]
            self.point, self.shards = OperatingPoint(**entry[POINT], compared=compared), {}
        if SHARD in entry:
            losses = Losses(**entry[SHARD].pop("losses"))
            shard = FinishedShard(**entry[SHARD], losses=losses)
            self.shards[shard.name] = shard


@contextmanager
def opened(path: Path, made_of: Mapping[str, Any]) -> Iterator[Journal]:
    """Open the journal at a path, or make one.

    It is removed when the block ends well, or badly with nothing finished. Raises VaecompError if
    another process is at work on the same output, OSError.
    """
    with path.open("a+b") as file:
        _lock(file, path)
        journal = Journal(file, made_of)
        try:
            yield journal
        except BaseException:
            if not journal.shards:
                path.unlink(missing_ok=True)
            raise
        path.unlink(missing_ok=True)


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # a system without such locks
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise VaecompError(
            f"{path}: another process writes the same output; wait for it, or write elsewhere"
        ) from None
