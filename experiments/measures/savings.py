"""How many bits one quantizer saves against another at the same distortion."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

Curve = list[tuple[float, float]]
"""Pairs (bits, error): bits rise, errors fall."""


def frontier(points: Iterable[tuple[float, float]]) -> Curve:
    """The (bits, error) pairs that no other one with as few bits beats."""
    best: Curve = []
    for bits, error in sorted(points):
        if not best or error < best[-1][1]:
            best.append((bits, error))
    return best


def percent_fewer(curve: Curve, baseline: Curve, bits: float) -> float | None:
    """By how many percent a curve needs fewer bits than the baseline needs for the same error.

    The error is the baseline's at so many ``bits``. The logarithm of errors is interpolated linearly
    over bits, without errors that are not above 0. The result has one decimal; it is None where a
    curve does not reach so far.
    """
    log_error = _interpolate(bits, baseline, inverse=False)
    if log_error is None:
        return None
    needed = _interpolate(log_error, curve, inverse=True)
    return None if needed is None else round(100 * (1 - needed / bits), 1)


def _interpolate(at: float, curve: Curve, *, inverse: bool) -> float | None:
    """Logarithm of the error at some bits, or, the inverse, bits at some logarithm."""
    shown = [(bits, np.log(error)) for bits, error in curve if error > 0]
    if not shown:
        return None
    x, y = zip(*[(log, bits) for bits, log in reversed(shown)] if inverse else shown, strict=True)
    if not x[0] <= at <= x[-1]:
        return None
    return float(np.interp(at, x, y))
