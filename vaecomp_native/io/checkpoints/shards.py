"""Models in several files, with an index that names each tensor's file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from vaecomp_native.errors import WeightsError, listed
from vaecomp_native.io.checkpoints.base import Checkpoint
from vaecomp_native.io.shard_index import parse_index

COUNTED = ("total_size", "total_parameters")
"""Metadata of an index that follow from the tensors and are left out."""


def read_shards(index: Path, read: Callable[[Path], Checkpoint]) -> Checkpoint:
    """Read the tensors that an index names, each from its shard; `read` reads one shard.

    The metadata are those of the index and of all shards. Raises WeightsError if the index is
    malformed or a shard or a tensor is missing, and OSError.
    """
    weight_map, metadata = _read_index(index)
    shards: dict[str, Checkpoint] = {}
    for name, shard in weight_map.items():
        if shard not in shards:
            if not (index.parent / shard).is_file():
                raise WeightsError(f"{index}: shard '{shard}' is not beside it; download it, too")
            shards[shard] = read(index.parent / shard)
        if name not in shards[shard].tensors:
            raise WeightsError(f"{index}: shard '{shard}' does not hold tensor '{name}'")
    merged = dict(metadata)
    for shard, content in shards.items():
        _merge(merged, content.metadata, shard)
    tensors = {name: shards[shard].tensors[name] for name, shard in weight_map.items()}
    files = (index, *(file for content in shards.values() for file in content.files))
    notes = [note for content in shards.values() for note in content.notes]
    return Checkpoint(tensors, merged, files, (*notes, *_left_out(weight_map, shards)))


def _read_index(index: Path) -> tuple[Mapping[str, str], dict[str, str]]:
    """Read an index: the name of each tensor's shard, and the metadata. Raises WeightsError."""
    try:
        parsed = parse_index(index.read_bytes())
    except ValueError as error:
        raise WeightsError(f"{index}: {error}") from error
    return parsed.weight_map, {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in parsed.metadata.items()
        if key not in COUNTED
    }


def _merge(metadata: dict[str, str], more: Mapping[str, str], shard: str) -> None:
    """Add a shard's metadata. A value that differs is kept under a key with the shard's name."""
    for key, value in more.items():
        if metadata.setdefault(key, value) != value:
            metadata[f"{shard}:{key}"] = value


def _left_out(weight_map: Mapping[str, str], shards: Mapping[str, Checkpoint]) -> list[str]:
    left = [
        f"{shard}: {name}"
        for shard, content in shards.items()
        for name in content.tensors
        if weight_map.get(name) != shard
    ]
    return [f"left out what the index does not name there: {listed(left)}"] if left else []
