"""The cheapest codeword for each value: error and code length weighed against each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vaecomp_native.quantization.codebooks import Float64Array, IntArray
from vaecomp_native.quantization.matrix import Float32Array

_BLOCK = 1 << 16  # values at a time, so that they stay in the cache


def cheapest_codewords(
    values: Float64Array, weights: Float64Array, codewords: Float32Array, costs: Float64Array
) -> IntArray:
    """The codeword k with the least weight * (value - codeword)^2 + costs[k], for each value.

    Args:
        values: float64 [N].
        weights: float64 [N], not negative.
        codewords: float32 [K], ascending.
        costs: float64 [K].

    Walks from the nearest codeword to both sides, for each value only until no codeword further
    out can be better: its error would be larger, and the least cost out there is known.
    """
    centres = codewords.astype(np.float64)
    blocks = (slice(at, at + _BLOCK) for at in range(0, values.size, _BLOCK))
    parts = [_Search(values[at], weights[at], centres, costs).run() for at in blocks]
    return np.concatenate(parts)


class _Search:
    """The search for one block of values: the best that it has found so far."""

    def __init__(
        self,
        values: Float64Array,
        weights: Float64Array,
        centres: Float64Array,
        costs: Float64Array,
    ) -> None:
        self.values, self.weights, self.centres, self.costs = values, weights, centres, costs
        self.labels = np.full(values.size, np.argmin(costs))
        self.best = weights * (values - centres[self.labels]) ** 2 + costs[self.labels]

    def run(self) -> IntArray:
        everything = np.arange(self.values.size)
        nearest = np.searchsorted((self.centres[1:] + self.centres[:-1]) / 2, self.values)
        self._try(everything, nearest, self.costs)
        self._walk(everything, nearest, -1, np.minimum.accumulate(self.costs))
        self._walk(everything, nearest, 1, np.minimum.accumulate(self.costs[::-1])[::-1])
        return self.labels

    def _walk(self, which: IntArray, at: IntArray, direction: int, min_costs: Float64Array) -> None:
        """Go on from codeword to codeword; `min_costs` are those from each one on outwards."""
        while which.size:
            at = at + direction
            inside = (at >= 0) & (at < self.centres.size)
            which, at = which[inside], at[inside]
            hopeful = self._try(which, at, min_costs)
            which, at = which[hopeful], at[hopeful]

    def _try(self, which: IntArray, at: IntArray, min_costs: Float64Array) -> npt.NDArray[np.bool_]:
        """Offer each value `which` its codeword; say where one with a least cost could be taken."""
        errors = self.weights[which] * (self.values[which] - self.centres[at]) ** 2
        before = self.best[which]
        found = errors + self.costs[at]
        better = found < before
        self.best[which[better]] = found[better]
        self.labels[which[better]] = at[better]
        return errors + min_costs[at] < np.minimum(before, found)
