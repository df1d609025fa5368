"""Weights into an archive in shards, one after another, each finished before the next.

A run that is interrupted goes on where it was: what it made is in the journal.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaecomp_native import __version__
from vaecomp_native.archive import Archive
from vaecomp_native.compression.groups import OperatingPoint, encode_in_groups, groups_of
from vaecomp_native.compression.journal import FinishedShard, Journal, opened
from vaecomp_native.compression.losses import Losses
from vaecomp_native.compression.operating import OperatingPoints
from vaecomp_native.compression.options import Options, with_defaults
from vaecomp_native.compression.request import Request
from vaecomp_native.errors import ShardingError, UnreachableError
from vaecomp_native.io import sinks
from vaecomp_native.io.file_state import FileState
from vaecomp_native.io.shard_index import (
    ARCHIVE_INDEX_SUFFIX,
    ShardIndex,
    parse_index,
    shard_name,
)
from vaecomp_native.io.urls import Location, is_url, plain
from vaecomp_native.progress import Steps
from vaecomp_native.quantization.batches import batches
from vaecomp_native.sharded import SHARDS, shard_start
from vaecomp_native.state_dict import StateDict

JOURNAL, PART = ".vaec.journal", ".part"
BLOCK_BYTES = 1 << 22


@dataclass(frozen=True)
class Shard:
    """The path of a shard, and the names of its tensors, aliases among them."""

    path: Path
    names: Sequence[str]

    @property
    def part(self) -> Path:
        """Where the shard is put together."""
        return self.path.with_name(self.path.name + PART)


class ShardWriter:
    """Writes the shards of one request beside their index."""

    def __init__(self, request: Request, out: Location, asked: Options, max_bytes: int) -> None:
        """Choose the shards. Raises ShardingError for a URL, and the errors of `check_output`."""
        if is_url(plain(out)):
            raise ShardingError(f"{out}: shards are written to a local directory; upload them then")
        self._request = request
        self._index = Path(plain(out))
        self._stem = self._index.name.removesuffix(ARCHIVE_INDEX_SUFFIX)
        self._shards = self._partition(max_bytes)
        self._made_of = _made_of(request.state, asked, max_bytes)
        for shard in self._shards:
            sinks.check_output(shard.path, request.state.files)

    def write(self) -> tuple[OperatingPoint, Losses]:
        """Write all shards and then the index, unless an interrupted run has written them."""
        before = self._old_shards()
        with opened(self._index.with_name(self._stem + JOURNAL), self._made_of) as journal:
            self._clean()
            points = OperatingPoints(self._request)
            point: OperatingPoint | None = journal.point
            if point is None:
                point = points.first()
                journal.begin(point)
            while True:
                self._write_shards(journal, point)
                index = self._make_index(journal)
                size = sum(one.bytes for one in journal.shards.values()) + len(index)
                smaller = _after(points, point, size, journal, self._shards)
                if smaller is None:
                    break
                point = smaller
                journal.begin(point)
            sinks.write(self._index, index)
        for name in before - {shard.path.name for shard in self._shards}:
            self._index.with_name(name).unlink(missing_ok=True)
        losses = Losses()
        for one in journal.shards.values():
            losses = losses.plus(one.losses)
        return point, losses

    def _write_shards(self, journal: Journal, point: OperatingPoint) -> None:
        missing = [one for one in self._shards if not _is_intact(one, journal)]
        self._check_room(missing, point)
        groups = {shard.path: len(groups_of(self._request, shard.names)) for shard in self._shards}
        step = Steps(self._request.progress, "compressing", sum(groups.values()))
        for shard in self._shards:
            if shard in missing:
                # The old index would name shards of two runs.
                self._index.unlink(missing_ok=True)
                journal.finish(self._write_shard(shard, point, step))
            else:
                step(groups[shard.path])

    def _write_shard(self, shard: Shard, point: OperatingPoint, step: Steps) -> FinishedShard:
        archive, losses = encode_in_groups(
            self._request, shard.names, point, self._index.parent, step
        )
        with sinks.replacing(shard.path, shard.part) as part:
            archive.write(part)
            del archive
            with sinks.flushing(part), Archive(part, threads=self._request.threads) as written:
                written.verify()
                sha256 = written.sha256
            size = part.stat().st_size
        return FinishedShard(shard.path.name, shard_start(shard.path), sha256, size, losses)

    def _partition(self, max_bytes: int) -> list[Shard]:
        """Cut the tensors in their order into shards; ties go where the tensor's data are."""
        state = self._request.state
        sizes = {name: form.nbytes for name, form in state.forms.items()}
        runs = list(batches(sizes, max_bytes)) or [[]]
        home = {name: number for number, run in enumerate(runs) for name in run}
        names: list[list[str]] = [[] for _ in runs]
        for name in state.names:
            names[home[state.aliases.get(name, name)]].append(name)
        return [
            Shard(self._index.with_name(shard_name(self._stem, number, len(runs), "vaec")), own)
            for number, own in enumerate(names, 1)
        ]

    def _make_index(self, journal: Journal) -> bytes:
        state = self._request.state
        shard_of = {name: shard.path.name for shard in self._shards for name in shard.names}
        marks = {
            name: {"start": one.start, "sha256": one.sha256}
            for name, one in sorted(journal.shards.items())
        }
        metadata = {
            "total_size": sum(form.nbytes for form in state.forms.values()),
            "total_parameters": state.parameters,
            SHARDS: marks,
        }
        return ShardIndex({name: shard_of[name] for name in state.names}, metadata).to_json()

    def _check_room(self, missing: Sequence[Shard], point: OperatingPoint) -> None:
        """Raise OSError if what is missing does not fit on the disk, the largest shard twice."""
        forms = self._request.state.forms
        total = sum(form.nbytes for form in forms.values())
        sizes = [sum(forms[n].nbytes for n in one.names if n in forms) for one in missing]
        if sizes and total:
            needed = (sum(sizes) + max(sizes)) * point.bytes // total
            there = sum(one.path.stat().st_size for one in missing if one.path.exists())
            sinks.check_room(self._index.parent, needed - there)

    def _clean(self) -> None:
        """Remove what a killed run has left half written."""
        for part in self._index.parent.glob(f"{glob.escape(self._stem)}-*-of-*.vaec{PART}"):
            part.unlink()

    def _old_shards(self) -> set[str]:
        """The names of the shards that an index in this place names, and that it may replace."""
        try:
            found = parse_index(self._index.read_bytes()).shards
        except (OSError, ValueError):
            return set()
        return {name for name in found if name.startswith(f"{self._stem}-")}


def _after(
    points: OperatingPoints,
    point: OperatingPoint,
    size: int,
    journal: Journal,
    shards: Sequence[Shard],
) -> OperatingPoint | None:
    """The point to go on with, as `OperatingPoints.after` finds it.

    If there is none, the shards are removed: nobody asked for ones of their size.
    """
    try:
        return points.after(point, size)
    except UnreachableError:
        for shard in shards:
            shard.path.unlink(missing_ok=True)
        journal.shards.clear()
        raise


def _made_of(state: StateDict, asked: Options, max_bytes: int) -> Mapping[str, Any]:
    """What a shard's bytes depend on, in the terms of JSON.

    Files count by their paths, sizes and times of change. Arrays in memory are known to no other
    run, so that their run does not go on from another.
    """
    options = with_defaults(asked)
    chosen = ("key", "codec", "bits_per_weight", "target_bytes", "rate_weight")
    files = [[os.path.realpath(file), *vars(FileState.of(file)).values()] for file in state.files]
    return {
        "version": __version__,
        "files": files or os.urandom(16).hex(),
        "tensors": hashlib.sha256("\n".join(state.names).encode()).hexdigest(),
        "max_shard_bytes": max_bytes,
        **{name: options[name] for name in chosen},  # type: ignore[literal-required]
    }


def _is_intact(shard: Shard, journal: Journal) -> bool:
    """Whether a shard is, to the last bit, what was verified when it was finished."""
    finished = journal.shards.get(shard.path.name)
    if finished is None or not shard.path.is_file():
        return False
    digest = hashlib.sha256()
    with shard.path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest() == finished.sha256
