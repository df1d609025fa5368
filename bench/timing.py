"""Times of functions that are compared.

They are measured in turns, so that a busy moment of the machine hits all of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from statistics import median

Function = Callable[[], object]


def medians(
    functions: Mapping[str, Function], samples: int = 7, min_seconds: float = 0.02
) -> dict[str, float]:
    """Measure the median seconds of a call of each function.

    A sample is the mean of as many calls as take `min_seconds`. The first call of each function
    does not count.
    """
    calls = {name: _calls(function, min_seconds) for name, function in functions.items()}
    found: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(samples):
        for name, function in functions.items():
            found[name].append(_seconds(function, calls[name]) / calls[name])
    return {name: median(seconds) for name, seconds in found.items()}


def _calls(function: Function, min_seconds: float) -> int:
    function()
    return max(1, math.ceil(min_seconds / _seconds(function, 1)))


def _seconds(function: Function, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return time.perf_counter() - start
