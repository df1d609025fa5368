"""Many models into members of one pack."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from typing import Literal, get_args

from vaecomp_native.arguments import check_choice
from vaecomp_native.fleet.many import local, ray, storage
from vaecomp_native.fleet.many.maker import MakerOptions
from vaecomp_native.fleet.many.report import ManyReport, collect, items_of
from vaecomp_native.io.urls import Location
from vaecomp_native.progress import Progress

Engine = Literal["local", "ray"]
SUFFIX = ".vaec"


def compress_many(
    members: Location | Sequence[Location],
    out: Location,
    *,
    pack: Location | bytes,
    engine: Engine = "local",
    workers: int = 0,
    rate_weight: float | None = None,
    lossless: bool = False,
    overwrite: bool = False,
    ray_address: str | None = None,
    progress: Progress | bool = False,
) -> ManyReport:
    """Compress safetensors files into members of a pack, as `compress` does one.

    A member that fails is reported and stops no other. Files appear whole or not at all. Their
    bytes are the same whatever the engine and the number of workers.

    A run that was interrupted goes on where it was: a file that is there already is kept if it is
    whole and its metadata say that it was made of this pack, the same input and the same options.
    Any other is made again.

    Args:
        members: a pattern of paths or of a URL that fsspec knows
            ("s3://bucket/users/*/model.safetensors"), or a list of files.
        out: directory or URL to write to. A pattern's files are named as below its fixed part
            ("alice/model.vaec"), those of a list by their own names.
        pack: the pack's path, URL or bytes.
        engine: "local", threads of this process; or "ray", a cluster whose machines all reach the
            files by the same names.
        workers: members at a time (with Ray, tasks). 0 takes one for each core of this machine, or
            two for each CPU of the cluster.
        rate_weight: adds residuals, as for `compress`.
        lossless: every tensor comes back bit for bit.
        overwrite: make every member again.
        ray_address: the cluster's; by default that of RAY_ADDRESS, else one on this machine.
        progress: as for `compress`, called as members are finished.

    Raises:
        VaecompError: no member is found, or two would have the same name.
        ArchiveError: the pack is none.
        ValueError: an option out of range, or options that exclude each other.
        ModuleNotFoundError: Ray or fsspec is needed and not installed.
        OSError: the pack cannot be read, or `out` cannot be made.
    """
    started = time.perf_counter()
    _check_options(engine, workers, rate_weight, lossless)
    items = items_of(members, out, SUFFIX)
    place = pack if isinstance(pack, bytes) else os.fspath(pack)
    weight = None if rate_weight is None else float(rate_weight)
    options = MakerOptions(weight, lossless, overwrite)
    storage.make_directory(out)
    if engine == "ray":
        outcomes = ray.run(items, place, options, workers=workers, address=ray_address)
    else:
        outcomes = local.run(items, place, options, workers=workers)
    found = collect(outcomes, items, "compressing members", progress)
    return ManyReport(found, time.perf_counter() - started)


def _check_options(engine: str, workers: int, rate_weight: float | None, lossless: bool) -> None:
    check_choice("engine", engine, get_args(Engine))
    if workers < 0:
        raise ValueError(f"workers is {workers}; it must be at least 0")
    if rate_weight is None:
        return
    if lossless:
        raise ValueError("rate_weight and lossless are given; give one of them")
    if not (math.isfinite(rate_weight) and rate_weight > 0):
        raise ValueError(f"rate_weight is {rate_weight}; it must be a finite number above 0")
