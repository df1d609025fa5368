"""Results as files that are there as a whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaecomp_native.io import sinks


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``."""
    sinks.write(path, text.encode("utf-8"))


def write_json(path: Path, result: Mapping[str, Any]) -> None:
    """Write ``result`` as indented JSON to ``path``; NaN is refused with ``ValueError``."""
    write_text(path, json.dumps(result, indent=2, allow_nan=False) + "\n")
