"""Refinement of latents through the integer decoder itself."""

from __future__ import annotations

import numpy as np

from vaecomp_native.codecs.vae.hidden import LARGEST, hidden_activations
from vaecomp_native.decoders import Float32Array, Int8Array, IntegerDecoder
from vaecomp_native.progress import Progress, silent

BATCH_CHUNKS = 64


def refine_latents(
    decoder: IntegerDecoder,
    latents: Int8Array,
    chunks: Float32Array,
    weights: Float32Array,
    steps: int,
    threads: int = 0,
    progress: Progress = silent,
) -> Int8Array:
    """Latents whose decoded chunks are never further from the chunks than those of `latents`.

    Each step proposes, for every chunk, the whole-number move of one latent that promises most by
    the decoder's slopes (a Gauss-Newton step along that latent), decodes, and keeps what lowered
    that chunk's weighted squared error. A latent whose move failed is left out until another move
    of that chunk succeeds.

    Args:
        decoder: with one hidden layer.
        latents: int8 [K, L].
        chunks: float32 [K, C].
        weights: float32 [K, C], factors of the errors.
        steps: rounds of proposals.
        threads: of the decoder; 0 takes all cores.
        progress: called as progress("refine", step, steps, {"loss": mean squared weighted error}).

    Returns:
        int8 [K, L].
    """
    refined: Int8Array = latents.copy()
    slopes = _Slopes(decoder, weights)
    open_moves = np.ones(latents.shape, np.bool_)
    errors = np.full(len(chunks), np.inf)
    for step in range(1, steps + 1):
        for start in range(0, len(chunks), BATCH_CHUNKS):
            rows = slice(start, start + BATCH_CHUNKS)
            residuals = decoder.forward(refined[rows], threads=threads) - chunks[rows]
            errors[rows] = _errors(residuals, weights[rows])
            proposal = slopes.propose(
                refined[rows], residuals * weights[rows] * weights[rows], open_moves[rows], threads
            )
            moved = _errors(
                decoder.forward(proposal, threads=threads) - chunks[rows], weights[rows]
            )
            better = moved < errors[rows]
            tried = proposal != refined[rows]
            open_moves[rows] = np.where(better[:, None], True, open_moves[rows] & ~tried)
            refined[rows] = np.where(better[:, None], proposal, refined[rows])
            errors[rows] = np.where(better, moved, errors[rows])
        progress("refine", step, steps, {"loss": float(errors.sum() / chunks.size)})
    return refined


class _Slopes:
    """First and second order of the weighted squared error in the latents."""

    def __init__(self, decoder: IntegerDecoder, weights: Float32Array) -> None:
        self._hidden, last = decoder.layers
        assert (
            self._hidden.multiplier is not None
            and self._hidden.shift is not None
            and last.scale is not None
        )
        gains = np.ldexp(
            self._hidden.multiplier.astype(np.float64), -self._hidden.shift.astype(np.int64)
        )
        self._first = (self._hidden.weight * gains[:, None]).astype(np.float32)
        self._last = last.weight * last.scale[:, None]
        importance = np.sqrt(np.square(weights, dtype=np.float64).mean(0)).astype(np.float32)
        weighted = self._last * importance[:, None]
        self._moments = weighted.T @ weighted

    def propose(
        self, latents: Int8Array, gradient: np.ndarray, allowed: np.ndarray, threads: int
    ) -> np.ndarray:
        """Latents [B, L], one a chunk moved; `gradient` [B, C] is the error's by the outputs."""
        activations = hidden_activations(self._hidden, latents, threads)
        active = ((activations > 0) & (activations < LARGEST)).astype(np.float32)
        slope = ((gradient @ self._last) * active) @ self._first
        directions = active[:, :, None] * self._first
        curvature = np.maximum((directions * (self._moments @ directions)).sum(1), 1e-30)
        moves = -np.sign(slope) * np.clip(np.rint(np.abs(slope) / curvature), 1, 2 * LARGEST)
        moves = np.clip(latents + moves, -LARGEST, LARGEST) - latents
        promise = -(slope * moves + 0.5 * curvature * np.square(moves))
        chosen = np.where(allowed & (moves != 0), promise, -np.inf).argmax(1)
        proposal: Int8Array = latents.copy()
        every = np.arange(len(latents))
        proposal[every, chosen] = (latents[every, chosen] + moves[every, chosen]).astype(np.int8)
        return proposal


def _errors(residuals: np.ndarray, weights: Float32Array) -> np.ndarray:
    """Weighted squared error of each chunk, float64 [B]."""
    result: np.ndarray = np.square(residuals * weights, dtype=np.float64).sum(1)
    return result
