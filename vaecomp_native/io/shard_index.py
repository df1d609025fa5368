"""Indexes of models in several files, in the form of safetensors': a map from tensors to files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from vaecomp_native.io import strict_json

ARCHIVE_INDEX_SUFFIX = ".vaec.index.json"
"""The end of the name of an index of archives."""
CHECKPOINT_INDEX_SUFFIX = ".safetensors.index.json"
"""The end of the name of an index of safetensors files."""
MAX_SHARD_BYTES = 5_000_000_000
"""The bytes of weights of a shard, if nobody says otherwise."""
LARGEST_INDEX = 1 << 28
"""The largest index in bytes."""


@dataclass(frozen=True)
class ShardIndex:
    """The name of each tensor's file, which lies beside the index, and what else the index says."""

    weight_map: Mapping[str, str]
    metadata: Mapping[str, Any]

    @property
    def shards(self) -> list[str]:
        """The names of the files, in the order in which tensors name them first."""
        return list(dict.fromkeys(self.weight_map.values()))

    def to_json(self) -> bytes:
        """The bytes of the index's file."""
        content = {"metadata": self.metadata, "weight_map": self.weight_map}
        return json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n"


def shard_name(stem: str, number: int, count: int, suffix: str) -> str:
    """The name of one of `count` shards, counted from 1, as it is usual on model hosts."""
    return f"{stem}-{number:05}-of-{count:05}.{suffix}"


def parse_index(data: bytes) -> ShardIndex:
    """Parse an index. Raises ValueError if it is malformed, or names a file that lies elsewhere."""
    try:
        content = strict_json.parse(data)
        weight_map = content["weight_map"]
        if not isinstance(weight_map, dict):
            raise TypeError("weight_map is not an object")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"not an index of shards with a weight_map: {error}") from error
    for name, shard in weight_map.items():
        if not isinstance(shard, str):
            raise ValueError(f"the shard of tensor '{name}' is {shard!r}, not a file's name")
        if not _is_name(shard):
            raise ValueError(f"shard {shard!r} must lie beside the index")
    metadata = content.get("metadata")
    return ShardIndex(weight_map, metadata if isinstance(metadata, dict) else {})


def _is_name(shard: str) -> bool:
    is_plain = PurePath(shard).name == shard and shard not in (".", "..")
    return is_plain and "\0" not in shard and "\\" not in shard
