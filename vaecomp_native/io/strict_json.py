"""JSON whose objects name nothing twice."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any


def parse(text: bytes | str) -> Any:
    """Parse JSON. Raises ValueError if it is malformed, nested too deeply, or repeats a name."""
    try:
        return json.loads(text, object_pairs_hook=_without_repetition)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        repeated, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"'{repeated}' occurs twice")
    return result
