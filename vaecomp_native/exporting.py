"""Archives into safetensors files, a batch of tensors at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.archive import BATCH_BYTES, TensorInfo
from vaecomp_native.errors import ShardingError, VaecompError
from vaecomp_native.io import sinks
from vaecomp_native.io.checkpoints import safetensors
from vaecomp_native.io.checkpoints.stored import Layout
from vaecomp_native.io.shard_index import (
    ARCHIVE_INDEX_SUFFIX,
    CHECKPOINT_INDEX_SUFFIX,
    ShardIndex,
    shard_name,
)
from vaecomp_native.io.urls import is_url, plain
from vaecomp_native.opening import AnyArchive
from vaecomp_native.progress import Progress, Steps, silent
from vaecomp_native.quantization.batches import batches

Array = npt.NDArray[Any]


@dataclass
class Exported:
    """The number of tensors that were written, their bytes, and the seconds of decoding them."""

    tensors: int
    bytes: int
    seconds: float = 0.0


def export(
    archive: AnyArchive,
    out: sinks.Sink,
    names: Sequence[str] | None = None,
    *,
    max_shard_bytes: int,
    progress: Progress = silent,
) -> Exported:
    """Decode the named tensors, or all, of an archive to a safetensors file.

    A path that ends with ``.safetensors.index.json`` gets an index, and beside it shards of at most
    `max_shard_bytes`, or of one larger tensor. Tied tensors are written for each name. Raises
    VaecompError for a dtype that safetensors files cannot hold, ArchiveError, OSError.
    """
    info = archive.info
    tensors = {one.name: one for one in info.tensors}
    layouts = {name: _layout(tensors[name]) for name in (tensors if names is None else names)}
    safetensors.check_dtypes(layouts)
    sizes = {name: layout.nbytes for name, layout in layouts.items()}
    done = Exported(len(layouts), sum(sizes.values()))
    directory = sinks.directory_of(out)
    if directory is not None:
        sinks.check_room(directory, done.bytes)
    step = Steps(progress, "decoding", len(layouts))
    index = _index_path(out)
    if index is None:
        arrays = _decoded(archive, sizes, done, step)
        safetensors.write(layouts, arrays, out, info.metadata)
        return done
    stem = index.name.removesuffix(CHECKPOINT_INDEX_SUFFIX)
    runs = list(batches(sizes, max_shard_bytes)) or [[]]
    # An old index would name shards of two runs.
    index.unlink(missing_ok=True)
    weight_map: dict[str, str] = {}
    for number, run in enumerate(runs, 1):
        shard = shard_name(stem, number, len(runs), "safetensors")
        arrays = _decoded(archive, {name: sizes[name] for name in run}, done, step)
        own = {name: layouts[name] for name in run}
        safetensors.write(own, arrays, index.with_name(shard), info.metadata)
        weight_map |= dict.fromkeys(run, shard)
    sinks.write(index, ShardIndex(weight_map, {"total_size": done.bytes}).to_json())
    return done


def _decoded(
    archive: AnyArchive, sizes: Mapping[str, int], done: Exported, step: Steps
) -> Iterator[tuple[str, Array]]:
    """Yield the named tensors, decoded in batches."""
    for run in batches(sizes, BATCH_BYTES):
        started = time.perf_counter()
        arrays = archive.decode(run)
        done.seconds += time.perf_counter() - started
        while arrays:
            name = next(iter(arrays))
            yield name, arrays.pop(name)
        step(len(run))


def _index_path(out: sinks.Sink) -> Path | None:
    """The path of an index to write; None for one file. Raises VaecompError for other indexes."""
    if not isinstance(out, (str, os.PathLike)):
        return None
    place = plain(out)
    if place.endswith(ARCHIVE_INDEX_SUFFIX):
        raise VaecompError(
            f"{place}: is the name of an archive; name it *{CHECKPOINT_INDEX_SUFFIX}"
        )
    if not place.endswith(CHECKPOINT_INDEX_SUFFIX):
        return None
    if is_url(place):
        raise ShardingError(f"{place}: shards are written to a local directory; upload them then")
    return Path(place)


def _layout(tensor: TensorInfo) -> Layout:
    return Layout(tensor.shape, _core.numpy_dtype(tensor.dtype))
