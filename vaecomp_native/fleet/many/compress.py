"""Many models into members of one pack: on this machine or on a cluster, again after an interruption, whatever single ones suffer from."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from vaecomp_native.fleet import storage
from vaecomp_native.fleet.engines import local, ray
from vaecomp_native.fleet.engines.work import Item, Options, Outcome
from vaecomp_native.io.urls import Location
from vaecomp_native.progress import Progress, console

Engine = Literal["local", "ray"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
SUFFIX = ".vaec"


@dataclass(frozen=True)
class ManyReport:
    """What became of each member, in the order of the members, and the seconds all took together."""

    members: Sequence[Outcome]
    seconds: float

    @property
    def counts(self) -> Mapping[str, int]:
        """Members made, kept and failed."""
        statuses = [member.status for member in self.members]
        return {status: statuses.count(status) for status in ("made", "kept", "failed")}

    @property
    def failed(self) -> Sequence[Outcome]:
        """Members that could not be made; their `reason` says why."""
        return [member for member in self.members if member.status == "failed"]

    @property
    def bytes(self) -> int:
        """Of all members' files; the pack is not counted."""
        return sum(member.bytes or 0 for member in self.members)

    @property
    def source_bytes(self) -> int:
        """Of the files that the members were made of."""
        return sum(member.source_bytes or 0 for member in self.members)

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        sums = {"bytes": self.bytes, "source_bytes": self.source_bytes}
        return {**self.counts, **sums, **asdict(self)}


def compress_many(
    members: Location | Sequence[Location],
    pack: Location | bytes,
    out: Location,
    *,
    engine: Engine = "local",
    workers: int = 0,
    rate_weight: float | None = None,
    lossless: bool = False,
    overwrite: bool = False,
    ray_address: str | None = None,
    progress: Progress | None = None,
) -> ManyReport:
    """Compress safetensors files into members of a pack, as `compress` does one.

    A member that fails is reported and stops no other. A file that is there already is kept if it is whole and was made of this
    pack, the same input and the same options, which its metadata say; any other is made again: what was interrupted goes on where it was. Files appear
    whole or not at all. The bytes are the same whatever the engine and the number of workers.

    Args:
        members: a pattern of paths or of a URL that fsspec knows ("s3://bucket/users/*/model.safetensors"), or a list of files.
        pack: the pack's path, URL or bytes.
        out: directory or URL to write to. A pattern's files are named as below its fixed part ("alice/model.vaec"), those of a list by their own names.
        engine: "local", threads of this process; or "ray", a cluster whose machines all reach the files by the same names.
        workers: members (with Ray, tasks) at a time; 0 for one for each core of this machine, or two for each CPU of the cluster.
        rate_weight: adds residuals, as for `compress`.
        lossless: every tensor comes back bit for bit.
        overwrite: make every member again.
        ray_address: the cluster's; by default that of RAY_ADDRESS, else one on this machine.
        progress: called as members are finished; by default a bar is drawn on a terminal's standard error.

    Raises:
        VaecompError: no member is found, or two would have the same name.
        ArchiveError: the pack is none.
        ValueError: an option out of range, or options that exclude each other.
        ModuleNotFoundError: Ray or fsspec is needed and not installed.
        OSError: the pack cannot be read, or `out` cannot be made.
    """
    started = time.perf_counter()
    _check_options(engine, workers, rate_weight, lossless)
    items = [
        Item(name, source, storage.join(out, name + SUFFIX))
        for name, source in storage.find_files(members).items()
    ]
    place = pack if isinstance(pack, bytes) else os.fspath(pack)
    weight = None if rate_weight is None else float(rate_weight)
    options = Options(weight, lossless, overwrite)
    storage.make_directory(out)
    if engine == "ray":
        outcomes = ray.run(items, place, options, workers=workers, address=ray_address)
    else:
        outcomes = local.run(items, place, options, workers=workers)
    with console() if progress is None else nullcontext(progress) as report:
        found = collect(outcomes, items, "compressing members", report)
    return ManyReport(found, time.perf_counter() - started)


def collect(
    outcomes: Generator[Outcome, None, None], items: Sequence[Item], stage: str, progress: Progress
) -> list[Outcome]:
    """All outcomes in the items' order, counted as they come; when that is interrupted, the iterator is closed."""
    found: dict[str, Outcome] = {}
    failed = 0
    progress(stage, 0, len(items), {})
    with closing(outcomes):
        for outcome in outcomes:
            found[outcome.name] = outcome
            failed += outcome.status == "failed"
            progress(stage, len(found), len(items), {"failed": failed} if failed else {})
    return [found[item.name] for item in items]


def _check_options(engine: str, workers: int, rate_weight: float | None, lossless: bool) -> None:
    if engine not in ENGINES:
        raise ValueError(f"engine is {engine!r}; choose one of {', '.join(ENGINES)}")
    if workers < 0:
        raise ValueError(f"workers is {workers}; it must be at least 0")
    if rate_weight is None:
        return
    if lossless:
        raise ValueError("rate_weight and lossless are given; give one of them")
    if not (math.isfinite(rate_weight) and rate_weight > 0):
        raise ValueError(f"rate_weight is {rate_weight}; it must be a finite number above 0")
