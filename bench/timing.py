"""Times of things that are compared: measured in turns, so that a busy moment of the machine hits all of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from statistics import median

Function = Callable[[], object]


def medians(
    functions: Mapping[str, Function], samples: int = 7, least: float = 0.02
) -> dict[str, float]:
    """Median seconds of a call of each function.

    A sample is the mean of as many calls as take `least` seconds; the first call of each function is not counted.
    """
    calls = {name: _calls(function, least) for name, function in functions.items()}
    found: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(samples):
        for name, function in functions.items():
            found[name].append(_seconds(function, calls[name]) / calls[name])
    return {name: median(seconds) for name, seconds in found.items()}


def _calls(function: Function, least: float) -> int:
    function()
    return max(1, math.ceil(least / _seconds(function, 1)))


def _seconds(function: Function, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return time.perf_counter() - start
