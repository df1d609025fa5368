"""The smallest decoder: a hidden unit for each chunk and a coarse grid for the last layer.

The weights of a trained network are almost unpredictable from one another (about 0.01 to 0.09 bits
a weight are to be gained from the covariance of the chunks of the paper's networks), and hidden
activations that are not orthogonal only spread the rounding errors. Activations that are orthogonal
and not negative have one active unit a chunk. So the first layer tells the chunks apart by the
signs of a few latents, each hidden unit answers to one chunk, with an activation that sets the
chunk's grid, and the last layer's weights are that chunk on its grid.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from vaecomp_native.decoders import Float32Array, Int8Array, IntegerDecoder, IntegerLayer
from vaecomp_native.errors import TrainingError
from vaecomp_native.progress import Progress
from vaecomp_native.training.config import TrainingConfig
from vaecomp_native.training.hidden import LARGEST
from vaecomp_native.training.rates import choose_symbols

FINEST_ACTIVATION = 16
"""Activation of the chunk with the finest grid, where the range allows: steps are exact to 3 %."""


def coarse_decoder(
    means: Float32Array,
    chunks: Float32Array,
    weights: Float32Array,
    config: TrainingConfig,
    progress: Progress,
) -> tuple[IntegerDecoder, Int8Array]:
    """An integer decoder for a small archive, and its latents.

    Equal chunks share a hidden unit, and a chunk whose numbers span more than 127 steps gets a
    second unit for the large ones. Units are sorted by the spread of their weights, so that a few
    tables code them well.

    Args:
        means: float32 [K, L], posterior means; the signs of some of them become the latents.
        chunks: float32 [K, C].
        weights: float32 [K, C], factors of the errors (`normalised_importance`).
        config: `step` and `rate_weight` are used.
        progress: called as progress("fine-tune", round, rounds, {"bits": estimated bits a weight}).

    Returns:
        The decoder and latents int8 [K, L], 0 or +-1, the used ones first.

    Raises:
        TrainingError: there are more different chunks than the signs of L latents tell apart.
    """
    first, group = _distinct(chunks)
    shared = _shared_weights(weights, group, len(first))
    grids = _Grids.choose(chunks[first], shared, config.step)
    units = _assign(chunks[first], shared, grids, config.rate_weight, 1.0, progress)
    gain = _gain(chunks[first], shared, units, grids.scale)
    if len(units.chunk) > len(first):
        # Large numbers are on grids of their own, which must already know the final scale.
        units = _assign(chunks[first], shared, grids, config.rate_weight, gain, progress)
    order = np.argsort(np.square(units.symbols, dtype=np.float32).mean(1), kind="stable")
    codes, used = _codes(means[first])
    hidden = IntegerLayer(
        weight=codes[units.chunk[order]],
        bias=np.full(len(order), 1 - used, np.int32),
        multiplier=units.activation[order],
        shift=np.zeros(len(order), np.uint8),
        scale=None,
    )
    length = chunks.shape[1]
    last = IntegerLayer(
        weight=np.ascontiguousarray(units.symbols[order].T),
        bias=np.zeros(length, np.int32),
        multiplier=None,
        shift=None,
        scale=np.full(length, float(grids.scale) * gain, np.float32),
    )
    return IntegerDecoder((hidden, last)), codes[group]


def _distinct(chunks: Float32Array) -> tuple[np.ndarray, np.ndarray]:
    """Index of the first of each set of equal chunks [U], and the set of every chunk [K]."""
    sets: dict[bytes, int] = {}
    first: list[int] = []
    group = np.empty(len(chunks), np.int64)
    for k, chunk in enumerate(chunks):
        group[k] = sets.setdefault(chunk.tobytes(), len(first))
        if group[k] == len(first):
            first.append(k)
    return np.array(first), group


def _shared_weights(weights: Float32Array, group: np.ndarray, count: int) -> np.ndarray:
    """Factors of the errors of the distinct chunks: the squares of equal chunks add up."""
    if count == len(weights):
        return weights
    total = np.zeros((count, weights.shape[1]), np.float32)
    np.add.at(total, group, np.square(weights))
    return np.sqrt(total)


@dataclasses.dataclass(frozen=True)
class _Grids:
    """The last layer's scale and activations int32 [U]; a chunk's step is activation * scale."""

    scale: np.float32
    activation: np.ndarray

    @staticmethod
    def choose(chunks: Float32Array, weights: np.ndarray, step: float) -> _Grids:
        """Steps inversely proportional to the chunks' root mean square importance."""
        used = np.maximum(np.count_nonzero(weights, axis=1), 1)
        importance = np.sqrt(np.square(weights, dtype=np.float64).sum(1) / used)
        largest = np.abs(chunks).max(1).astype(np.float64)
        relevant = (importance > 0) & (largest > 0)
        if not relevant.any():
            return _Grids(np.float32(1), np.ones(len(chunks), np.int32))
        steps = np.full(len(chunks), np.nan)
        steps[relevant] = step / importance[relevant]
        # A step beyond the largest number only costs range: everything is zero on that grid
        # already.
        steps = np.minimum(steps, 4 * largest)
        scale = max(
            np.nanmin(steps) / FINEST_ACTIVATION,
            np.nanmax(steps) / LARGEST,
            largest[relevant].max() / LARGEST**2,
        )
        scale = np.float32(max(scale, float(np.finfo(np.float32).tiny)))
        activation = np.rint(np.where(np.isnan(steps), 1.0, steps / float(scale)))
        return _Grids(scale, np.clip(activation, 1, LARGEST).astype(np.int32))


@dataclasses.dataclass(frozen=True)
class _Units:
    """Hidden units: chunk that each answers to [H], activation int32 [H], weights int8 [H, C]."""

    chunk: np.ndarray
    activation: np.ndarray
    symbols: np.ndarray


def _assign(
    chunks: Float32Array,
    weights: np.ndarray,
    grids: _Grids,
    rate_weight: float,
    gain: float,
    progress: Progress,
) -> _Units:
    """A unit for every chunk, behind units with wider grids for what those do not reach."""
    everyone = np.arange(len(chunks))
    wide = np.minimum(
        np.ceil(np.abs(chunks).max(1) / (LARGEST * np.float64(grids.scale))), LARGEST
    ).astype(np.int32)
    over = everyone[wide > grids.activation]
    steps = wide[over, None].astype(np.float32) * np.float32(grids.scale * gain)
    beyond = (
        np.abs(chunks[over])
        > LARGEST * grids.activation[over, None].astype(np.float32) * grids.scale
    )
    outliers = np.where(
        beyond, np.clip(np.rint(chunks[over] / steps), -LARGEST, LARGEST), 0
    ).astype(np.int8)
    rest = chunks.copy()
    rest[over] -= outliers * steps
    grid = grids.activation[:, None].astype(np.float32) * grids.scale
    symbols = choose_symbols(rest / grid, weights * grid, rate_weight, progress)
    return _Units(
        np.concatenate([over, everyone]),
        np.concatenate([wide[over], grids.activation]),
        np.concatenate([outliers, symbols]),
    )


def _gain(chunks: Float32Array, weights: np.ndarray, units: _Units, scale: np.float32) -> float:
    """How much smaller rounding towards zero made the chunks on the average; at least 1.

    A layer whose weights all shrink changes its output's size, which costs a network more than
    noise of the same energy; recurrent ones feel it most.
    """
    energy = sum(float(np.square(w * x).sum()) for w, x in zip(weights, chunks, strict=True))
    correlation = sum(
        float(((weights[u] * chunks[u]) * (weights[u] * (symbols * (activation * scale)))).sum())
        for u, activation, symbols in zip(units.chunk, units.activation, units.symbols, strict=True)
    )
    return energy / correlation if 0 < correlation < energy else 1.0


def _codes(means: Float32Array) -> tuple[np.ndarray, int]:
    """Distinct rows int8 [U, L], +-1 in the first `used` columns and 0 behind, and `used`.

    The columns are signs of the means about their medians, as few as tell the rows apart when each
    is chosen for the most rows told apart. Should all of them not do, the rows are numbered in
    binary instead.
    """
    count, latent = means.shape
    codes = np.zeros((count, latent), np.int8)
    signs = means > np.median(means, axis=0)
    label, used = np.zeros(count, np.int64), 0
    while label.max() + 1 < count:
        parts = [len(np.unique(2 * label + signs[:, column])) for column in range(latent)]
        best = int(np.argmax(parts))
        if parts[best] == label.max() + 1:
            return _numbered(count, latent)
        codes[:, used] = np.where(signs[:, best], 1, -1)
        _, label = np.unique(2 * label + signs[:, best], return_inverse=True)
        used += 1
    return codes, used


def _numbered(count: int, latent: int) -> tuple[np.ndarray, int]:
    digits = max(1, (count - 1).bit_length())
    if digits > latent:
        raise TrainingError(
            f"{count} different chunks need a latent of at least {digits}, not {latent}"
        )
    codes = np.zeros((count, latent), np.int8)
    codes[:, :digits] = np.where(np.arange(count)[:, None] >> np.arange(digits) & 1, 1, -1)
    return codes, digits
