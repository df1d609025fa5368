"""Latents as symbols, whose codes a table of the pack says.

This is variational Bayesian quantization (Yang, Bamler, Mandt 2020, arXiv 2002.08158): what a wide
posterior leaves open is used to choose the symbol with the shorter code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vaecomp_native.fleet.decoder import MAX_SYMBOL, UNIT
from vaecomp_native.quantization.vbq import variational_bayesian_quantization

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int8Array = npt.NDArray[np.int8]
MAX_LATENT = 5.0
"""Latents up to so many standard deviations have a code; others are stored without one."""
TURNS = 4
KNOWN_DEVIATION = 0.1
"""The deviation that latents found by least squares get: they are known better than need be."""
SMOOTHING = 0.1
"""The share of a normal distribution in the table, because new members have other latents."""


@dataclass(frozen=True)
class LatentPrior:
    """Counts of the symbols from `first` on; all are above zero."""

    first: int
    counts: tuple[int, ...]

    @staticmethod
    def fit(means: Float32Array, deviations: Float32Array) -> LatentPrior:
        """From the members' latents, float32 [N, L] both, in standard deviations of the fleet."""
        flat, spread = means.reshape(-1, 1), deviations.reshape(-1)
        precision = (1.0 / np.square(spread, dtype=np.float64))[:, None]
        # Twice the published weight of a bit, which is ln 2 here: a nat of code counts as a nat.
        found = variational_bayesian_quantization(flat, precision, 2.0 * np.log(2.0)).values()
        symbols = _clipped(found.reshape(-1))
        prior = LatentPrior._of(symbols)
        for _ in range(TURNS):
            prior = LatentPrior._of(prior.quantize(flat.reshape(-1), spread))
        return prior

    @staticmethod
    def of_known(latents: Float32Array) -> LatentPrior:
        """From latents [N, L] that least squares found."""
        return LatentPrior.fit(latents, np.full_like(latents, KNOWN_DEVIATION))

    @staticmethod
    def _of(symbols: Int8Array) -> LatentPrior:
        widest = round(MAX_LATENT * UNIT)
        grid = np.arange(-widest, widest + 1)
        normal = np.exp(-0.5 * np.square(grid / UNIT))
        share = np.bincount(symbols.astype(np.int64) + widest, minlength=grid.size) / symbols.size
        mixed = share + SMOOTHING * normal / normal.sum()
        return LatentPrior(
            -widest, tuple(np.maximum(np.rint(mixed * 2**20), 1).astype(int).tolist())
        )

    def quantize(self, means: Float32Array, deviations: Float32Array) -> Int8Array:
        """The symbol q that costs least, for each of [n] latents.

        The cost is (q - mean)^2 / (2 deviation^2) + nats of q's code.
        """
        grid = self.first + np.arange(len(self.counts))
        nats = -np.log(np.array(self.counts) / sum(self.counts))
        errors = np.square(grid / UNIT - means.astype(np.float64)[:, None])
        costs = errors / (2.0 * np.square(deviations.astype(np.float64)))[:, None] + nats
        symbols: Int8Array = grid[np.argmin(costs, axis=1)].astype(np.int8)
        return symbols

    def latents(self, means: Float32Array, deviations: Float32Array) -> Float32Array:
        """What `quantize` makes of latents, in standard deviations of the fleet."""
        symbols = self.quantize(means, deviations).astype(np.float32)
        values: Float32Array = symbols / np.float32(UNIT)
        return values


def _clipped(values: Float32Array) -> Int8Array:
    widest = min(round(MAX_LATENT * UNIT), MAX_SYMBOL)
    return np.clip(np.rint(values * UNIT), -widest, widest).astype(np.int8)
