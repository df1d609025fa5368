"""The choice of the model's file in a directory, such as a model repository."""

from __future__ import annotations

import json
from pathlib import Path

from vaecomp_native.errors import WeightsError, listed

INDEX_SUFFIX = ".index.json"
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".npz", ".gguf")
"""Suffixes of checkpoints, the preferred one first. Repositories hold weights in several kinds."""
KNOWN_NAMES = (
    "model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "adapter_model.safetensors",
    "pytorch_model.bin",
    "diffusion_pytorch_model.bin",
    "adapter_model.bin",
)
"""Names of a repository's main file. A file with one of them is preferred to others."""
NOT_MODELS = ("training_args.bin", "optimizer.", "scheduler.", "scaler.", "rng_state", "tokenizer")
"""First parts of the names of files that lie beside a model and hold something else."""


def model_in(directory: Path) -> tuple[Path, tuple[str, ...]]:
    """Find the model's file in a directory, and note which other models are there.

    Raises WeightsError if there is none, or more than one; the message names the candidates.
    """
    for suffix in SUFFIXES:
        found = _models(directory, suffix)
        known = [path for path in found if path.name.removesuffix(INDEX_SUFFIX) in KNOWN_NAMES]
        if len(known) == 1 and not known[0].name.endswith(INDEX_SUFFIX):
            found = known
        if len(found) > 1:
            names = [path.name for path in found]
            raise WeightsError(
                f"{directory}: holds {len(found)} models: {listed(names)}; "
                "name the file to compress"
            )
        if found:
            return found[0], _notes(directory, found[0])
    raise WeightsError(f"{directory}: holds no checkpoint; name a file, or the model's directory")


def _models(directory: Path, suffix: str) -> list[Path]:
    """List indexes of shards, and files that no index names."""
    indexes = sorted(directory.glob(f"*{suffix}{INDEX_SUFFIX}"))
    shards = {name for index in indexes for name in _shards_of(index)}
    return indexes + sorted(
        path
        for path in directory.glob(f"*{suffix}")
        if path.name not in shards and not path.name.startswith((*NOT_MODELS, "."))
    )


def _shards_of(index: Path) -> set[str]:
    try:
        return {str(name) for name in json.loads(index.read_bytes())["weight_map"].values()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()  # reading the index raises the error


def _notes(directory: Path, model: Path) -> tuple[str, ...]:
    others = [
        path.name for suffix in SUFFIXES for path in _models(directory, suffix) if path != model
    ]
    if not others:
        return (f"read {model.name} of {directory}",)
    return (f"read {model.name} of {directory}; beside it is {listed(others)}",)
