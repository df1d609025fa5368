"""Wall-clock time of one call."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")


def fastest(function: Callable[[], _Result], repeats: int) -> tuple[_Result, float]:
    """The result of ``function`` and the shortest of its running times in seconds."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        best = min(best, time.perf_counter() - start)
    return result, best
