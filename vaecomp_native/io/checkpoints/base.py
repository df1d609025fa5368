"""What the readers of checkpoints give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file or a set of files.

    `tensors` maps names to arrays, torch tensors or, where a file has containers in it, mappings of these. `files` were read.
    `notes` say in a sentence each what was chosen, changed or left out.
    """

    tensors: Mapping[Any, Any]
    metadata: Mapping[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
