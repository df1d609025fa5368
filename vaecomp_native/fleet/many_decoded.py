"""Many members of one pack into safetensors files."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import vaecomp_native as vc
from vaecomp_native.archive import Archive, Array
from vaecomp_native.fleet import storage
from vaecomp_native.fleet.bulk import decode
from vaecomp_native.fleet.engines.work import Item, Outcome, failed
from vaecomp_native.fleet.many import ManyReport, collect
from vaecomp_native.io import sinks
from vaecomp_native.io.checkpoints import safetensors
from vaecomp_native.io.urls import Location
from vaecomp_native.progress import Progress, console

SUFFIX = ".safetensors"
BATCH_BYTES, BATCH_MEMBERS = 1 << 30, 256
"""Of the weights that are decoded together and in memory at a time."""


def decode_many(
    members: Location | Sequence[Location],
    pack: Location | bytes,
    out: Location,
    *,
    threads: int = 0,
    progress: Progress | None = None,
) -> ManyReport:
    """Decode members of a pack to safetensors files, many at a time, checking every tensor's digest.

    `members`, `pack` and `out` as for `compress_many`. Files that are there are replaced, each at once. A member that cannot be decoded is reported and
    stops no other. Raises what `compress_many` does.
    """
    started = time.perf_counter()
    items = [
        Item(name, source, storage.join(out, name + SUFFIX))
        for name, source in storage.find_files(members).items()
    ]
    with vc.open(pack if isinstance(pack, bytes) else os.fspath(pack), threads=threads) as archive:
        storage.make_directory(out)
        with console() if progress is None else nullcontext(progress) as report:
            outcomes = _decode_all(items, archive, threads)
            found = collect(outcomes, items, "decoding members", report)
    return ManyReport(found, time.perf_counter() - started)


@dataclass(frozen=True)
class _Member:
    """A member's file in memory, open."""

    item: Item
    archive: Archive
    info: vc.ArchiveInfo


def _decode_all(
    items: Sequence[Item], pack: Archive, threads: int
) -> Generator[Outcome, None, None]:
    batch: list[_Member] = []
    for item in items:
        try:
            batch.append(_open(item, pack, threads))
        except Exception as error:
            yield failed(item, error, 0.0)
        if sum(one.info.raw_bytes for one in batch) >= BATCH_BYTES or len(batch) == BATCH_MEMBERS:
            yield from _decode_batch(batch, pack, threads)
            batch = []
    yield from _decode_batch(batch, pack, threads)


def _open(item: Item, pack: Archive, threads: int) -> _Member:
    archive = vc.open(storage.read(item.source), pack=pack, threads=threads)
    return _Member(item, archive, archive.info)


def _decode_batch(
    batch: Sequence[_Member], pack: Archive, threads: int
) -> Generator[Outcome, None, None]:
    if not batch:
        return
    started = time.perf_counter()
    try:
        decoded = decode([one.archive for one in batch], pack, threads=threads)
    except Exception as error:
        if len(batch) == 1:
            yield failed(batch[0].item, error, time.perf_counter() - started)
            return
        # Which of them it was is found out one by one.
        for one in batch:
            yield from _decode_batch([one], pack, threads)
        return
    seconds = (time.perf_counter() - started) / len(batch)
    for one, tensors in zip(batch, decoded, strict=True):
        yield _save(one, tensors, seconds)


def _save(one: _Member, tensors: dict[str, Array], seconds: float) -> Outcome:
    started = time.perf_counter()
    item = one.item
    try:
        with storage.output(item.output) as path:
            sinks.check_output(path, [item.source])
            safetensors.write(tensors, path, one.info.metadata)
            size = path.stat().st_size
    except Exception as error:
        return failed(item, error, seconds)
    seconds += time.perf_counter() - started
    return Outcome(
        item.name, item.source, item.output, "made", seconds, one.info.bytes["total"], size
    )
