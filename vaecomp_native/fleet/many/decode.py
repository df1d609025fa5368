"""Many members of one pack into safetensors files."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from vaecomp_native.archive import Archive, ArchiveInfo, Array
from vaecomp_native.fleet.decode import decode
from vaecomp_native.fleet.many import storage
from vaecomp_native.fleet.many.report import Item, ManyReport, Outcome, collect, failed, items_of
from vaecomp_native.io import sinks
from vaecomp_native.io.checkpoints import safetensors
from vaecomp_native.io.urls import Location
from vaecomp_native.progress import Progress

SUFFIX = ".safetensors"
BATCH_BYTES, BATCH_MEMBERS = 1 << 30, 256
"""Of the weights that are decoded together and in memory at a time."""


def decode_many(
    members: Location | Sequence[Location],
    out: Location,
    *,
    pack: Location | bytes,
    threads: int = 0,
    progress: Progress | bool = False,
) -> ManyReport:
    """Decode members of a pack to safetensors files, many at a time, checking every digest.

    A member that cannot be decoded is reported and stops no other. Files that are there are
    replaced, each at once.

    Args:
        members: a pattern or a list, as for `compress_many`.
        out: directory or URL to write to, as for `compress_many`.
        pack: the pack's path, URL or bytes.
        threads: threads of the native kernels, 0 for all cores.
        progress: as for `compress`, called as members are finished.

    Raises:
        VaecompError: no member is found, or two would have the same name.
        ArchiveError: the pack is no archive.
        ModuleNotFoundError: fsspec is needed and not installed.
        OSError: the pack cannot be read, or `out` cannot be made.
    """
    started = time.perf_counter()
    items = items_of(members, out, SUFFIX)
    place = pack if isinstance(pack, bytes) else os.fspath(pack)
    with Archive(place, threads=threads) as archive:
        storage.make_directory(out)
        outcomes = _decode_all(items, archive, threads)
        found = collect(outcomes, items, "decoding members", progress)
    return ManyReport(found, time.perf_counter() - started)


@dataclass(frozen=True)
class _Member:
    """A member's file in memory, open."""

    item: Item
    archive: Archive
    info: ArchiveInfo


def _decode_all(
    items: Sequence[Item], pack: Archive, threads: int
) -> Generator[Outcome, None, None]:
    batch: list[_Member] = []
    for item in items:
        started = time.perf_counter()
        try:
            batch.append(_open(item, pack, threads))
        except Exception as error:
            yield failed(item, error, started)
        if sum(one.info.raw_bytes for one in batch) >= BATCH_BYTES or len(batch) == BATCH_MEMBERS:
            yield from _decode_batch(batch, pack)
            batch = []
    yield from _decode_batch(batch, pack)


def _open(item: Item, pack: Archive, threads: int) -> _Member:
    archive = Archive(storage.read(item.source), pack=pack, threads=threads)
    return _Member(item, archive, archive.info)


def _decode_batch(batch: Sequence[_Member], pack: Archive) -> Generator[Outcome, None, None]:
    if not batch:
        return
    started = time.perf_counter()
    try:
        decoded = decode([one.archive for one in batch], pack=pack)
    except Exception as error:
        if len(batch) == 1:
            yield failed(batch[0].item, error, started)
            return
        # Which of them it was is found out one by one.
        for one in batch:
            yield from _decode_batch([one], pack)
        return
    seconds = (time.perf_counter() - started) / len(batch)
    for one, tensors in zip(batch, decoded, strict=True):
        yield _save(one, tensors, time.perf_counter() - seconds)


def _save(one: _Member, tensors: dict[str, Array], started: float) -> Outcome:
    item = one.item
    try:
        with storage.output(item.output) as path:
            sinks.check_output(path, [item.source])
            safetensors.write(tensors, tensors.items(), path, one.info.metadata)
            size = path.stat().st_size
    except Exception as error:
        return failed(item, error, started)
    seconds = time.perf_counter() - started
    source_bytes = one.info.bytes["total"]
    return Outcome(item.name, item.source, item.output, "made", seconds, source_bytes, size)
