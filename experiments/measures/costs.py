"""The number of models from which sharing is cheaper."""

from __future__ import annotations

import math
from collections.abc import Iterable


def cheaper_from(
    shared_bytes: int, own_bytes: float, others: Iterable[tuple[int, float]]
) -> int | None:
    """Return the smallest number of models for which sharing is cheaper than all ``others``.

    Sharing takes ``shared_bytes`` once and ``own_bytes`` for each model. ``others`` are pairs of
    such shared and own bytes. The result is ``None`` if no number of models will do.
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
