"""Rounding to whole numbers with the rate in mind."""

from __future__ import annotations

import numpy as np

from vaecomp_native.decoders import Float32Array, Int8Array
from vaecomp_native.progress import Progress
from vaecomp_native.training.hidden import LARGEST

TABLE_SYMBOLS = 16_384
"""Symbols that share a rate estimate: about what makes a table of their own worth its bytes."""
ROUNDS = 3
PRIOR_COUNT = 0.3
"""Added to every symbol's count, so that symbols not seen yet have a rate."""


def choose_symbols(
    values: Float32Array, weights: np.ndarray, rate_weight: float, progress: Progress
) -> Int8Array:
    """Whole numbers near the values that cost few bits.

    Each value becomes the nearest whole number, the next towards zero, or zero, whichever has the
    least squared error plus `rate_weight` times bits; the rates come from the previous round's
    counts in rows of similar spread (entropy-constrained quantisation: Chou, Lookabaugh & Gray
    1989, on a uniform grid).

    Args:
        values: float32 [U, C], in steps.
        weights: float32 [U, C], factors of the errors, in the same unit.
        rate_weight: what a bit costs, in units of the median of the positive squared weights.
        progress: called as progress("fine-tune", round, rounds, {"bits": estimated bits a value}).

    Returns:
        int8 [U, C].
    """
    symbols = np.clip(np.rint(values), -LARGEST, LARGEST).astype(np.int8)
    squares = np.square(weights)
    positive = squares[squares > 0]
    price = np.float32(rate_weight * float(np.median(positive)) if positive.size else rate_weight)
    order = np.argsort(np.square(symbols, dtype=np.float32).mean(1), kind="stable")
    rows = max(1, TABLE_SYMBOLS // values.shape[1])
    tables = [order[start : start + rows] for start in range(0, len(order), rows)]
    for done in range(1, ROUNDS + 1):
        bits = 0.0
        for table in tables:
            symbols[table], cost = _round(values[table], squares[table], symbols[table], price)
            bits += cost
        progress("fine-tune", done, ROUNDS, {"bits": bits / values.size})
    return symbols


def _round(
    values: Float32Array, squares: np.ndarray, symbols: np.ndarray, price: np.float32
) -> tuple[np.ndarray, float]:
    """One table's symbols chosen by their present counts, and the bits they take."""
    counts = (
        np.bincount(symbols.ravel().astype(np.int64) + LARGEST, minlength=2 * LARGEST + 1)
        + PRIOR_COUNT
    )
    rates = -np.log2(counts / counts.sum()).astype(np.float32)
    nearest = np.clip(np.rint(values), -LARGEST, LARGEST).astype(np.int8)
    best, chosen = np.full(values.shape, np.inf, np.float32), nearest
    for candidate in (nearest, nearest - np.sign(nearest), np.zeros_like(nearest)):
        cost = (
            squares * np.square(values - candidate)
            + price * rates[candidate.astype(np.int64) + LARGEST]
        )
        chosen = np.where(cost < best, candidate, chosen)
        best = np.minimum(cost, best)
    return chosen, float(rates[chosen.astype(np.int64) + LARGEST].sum())
