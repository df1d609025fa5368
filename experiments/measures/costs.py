"""From how many models on sharing is cheaper."""

from __future__ import annotations

import math
from collections.abc import Iterable


def cheaper_from(
    shared_bytes: int, own_bytes: float, others: Iterable[tuple[int, float]]
) -> int | None:
    """Smallest number of models for which shared and own bytes together are fewer than with each of ``others``.

    These are pairs of shared bytes and a model's own bytes. ``None`` if no number of models will do.
    """
    first, last = 1, math.inf
    for other_shared, other_own in others:
        more_shared, saved = shared_bytes - other_shared, other_own - own_bytes
        if saved > 0:
            first = max(first, math.floor(more_shared / saved) + 1)
        elif more_shared >= 0:
            return None
        elif saved < 0:
            last = min(last, math.ceil(more_shared / saved) - 1)
    return first if first <= last else None
