"""Trained weights as files that are used again only if they were made the same way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save

from vaecomp_native.io import sinks

State = Mapping[str, torch.Tensor]


def key_of(parts: Mapping[str, Any]) -> str:
    """SHA-256 of JSON-able settings, in hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def digest_of(state: State) -> str:
    """SHA-256 of names and values, in any order, in hexadecimal digits."""
    total = hashlib.sha256()
    for name in sorted(state):
        array = state[name].detach().contiguous().numpy()
        total.update(f"{name} {array.dtype} {array.shape}\0".encode() + array.tobytes())
    return total.hexdigest()


def write_state(path: Path, state: State, key: str) -> None:
    """Write a state dict as a safetensors file, atomically."""
    sinks.write(path, save(dict(state), {"key": key, "digest": digest_of(state)}))


def load_state(path: Path) -> dict[str, torch.Tensor]:
    """The state dict in a safetensors file, in memory of its own: the file may be replaced meanwhile."""
    return load(path.read_bytes())


def read_state(path: Path, key: str) -> dict[str, torch.Tensor] | None:
    """The state dict; None if there is no file, or one with another key, or one that is cut short or changed."""
    try:
        with safe_open(path, "pt") as file:
            notes = file.metadata() or {}
        if notes.get("key") != key:
            return None
        state = load_state(path)
    except (OSError, SafetensorError):
        return None
    return state if notes.get("digest") == digest_of(state) else None
