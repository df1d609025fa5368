"""The result of reading a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file or a set of files.

    Attributes:
        tensors: arrays or torch tensors by name, or mappings of these if the file nests them.
        metadata: text from the files.
        files: the files that were read.
        notes: sentences that say what was chosen, changed or left out.
    """

    tensors: Mapping[Any, Any]
    metadata: Mapping[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
