"""The last layer's integers for fixed hidden activations: least squares with error feedback."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from vaecomp_native.codecs.vae.hidden import LARGEST
from vaecomp_native.decoders import Float32Array, IntegerLayer

RIDGE = 1e-6
"""Of the mean of the second moments: chooses small weights where the activations leave a choice."""
SMALLEST_SCALE = 2.0**-120
LARGEST_BIAS = 2.0**22
"""In units of the scale: accumulators stay below 2^24, which float32 holds exactly."""
BISECTIONS = 14
WIDEST_RANGE = 2.0**8
"""Coarse steps are looked for from the solution's root mean square divided by this to four times it."""


@dataclasses.dataclass(frozen=True)
class LeastSquares:
    """The last layer as a least-squares problem in the hidden activations.

    The squared error of chunk k counts with the mean of its squared importance.

    Args:
        moments: float64 [H, H], weighted second moments of the activations: the Hessian.
        solution: float64 [H, C], the best weights.
        feedback: float64 [H, H], upper Cholesky factor of the inverse Hessian.
        energy: weighted sum of squares of the chunks.
    """

    moments: torch.Tensor
    solution: torch.Tensor
    feedback: torch.Tensor
    energy: float

    @staticmethod
    def of(activations: Float32Array, chunks: np.ndarray, weights: np.ndarray) -> LeastSquares:
        """Solve for activations float32 [K, H], chunks and factors of the errors float32 [K, C]."""
        width, length = activations.shape[1], chunks.shape[1]
        moments = torch.zeros(width, width, dtype=torch.float64)
        products = torch.zeros(width, length, dtype=torch.float64)
        energy = 0.0
        for start in range(0, len(chunks), 1024):
            rows = slice(start, start + 1024)
            x = torch.from_numpy(activations[rows].astype(np.float64))
            y = torch.from_numpy(chunks[rows].astype(np.float64))
            share = torch.from_numpy(np.square(weights[rows], dtype=np.float64).mean(1))[:, None]
            moments += x.T @ (x * share)
            products += (x * share).T @ y
            energy += float((share * y.square()).sum())
        moments.diagonal().add_(RIDGE * moments.diagonal().mean().clamp_min(1e-30))
        factor = torch.linalg.cholesky(moments)
        return LeastSquares(
            moments,
            torch.cholesky_solve(products, factor),
            torch.linalg.cholesky(torch.cholesky_inverse(factor), upper=True),
            energy,
        )

    def rounded(self, scale: torch.Tensor, limits: torch.Tensor) -> torch.Tensor:
        """Whole weights [H, C] in units of `scale` (broadcast to [C]), of magnitude `limits` [H] at most.

        One hidden unit after another is rounded, while the units behind take over its error (Frantar et al.
        2022, arXiv 2210.17323).
        """
        rest, whole = self.solution.clone(), torch.empty_like(self.solution)
        for i, limit in enumerate(limits.tolist()):
            whole[i] = torch.clamp(torch.round(rest[i] / scale), -limit, limit)
            error = (rest[i] - whole[i] * scale) / self.feedback[i, i]
            rest[i + 1 :].addr_(self.feedback[i, i + 1 :], error, alpha=-1)
        return whole

    def distortion(self, weights: torch.Tensor) -> float:
        """What weights [H, C] add to the solution's squared error, over the energy of the chunks."""
        error = weights - self.solution
        return float((error * (self.moments @ error)).sum()) / max(self.energy, 1e-300)


def solve_int8(activations: Float32Array, chunks: np.ndarray, weights: np.ndarray) -> IntegerLayer:
    """int8 weights with a scale and a bias for each output: as exact as the form allows."""
    problem = LeastSquares.of(_with_ones(activations), chunks, weights)
    solution = problem.solution
    scale = torch.maximum(solution[:-1].abs().amax(0) / LARGEST, solution[-1].abs() / LARGEST_BIAS)
    scale = torch.where(scale > SMALLEST_SCALE, scale, torch.ones_like(scale)).float().double()
    limits = torch.full((len(solution),), float(LARGEST))
    limits[-1] = 2 * LARGEST_BIAS
    whole = problem.rounded(scale, limits).numpy()
    return IntegerLayer(
        weight=np.ascontiguousarray(whole[:-1].T.astype(np.int8)),
        bias=whole[-1].astype(np.int32),
        scale=scale.numpy().astype(np.float32),
    )


def solve_coarse(
    activations: Float32Array, chunks: np.ndarray, weights: np.ndarray, distortion: float
) -> IntegerLayer:
    """Weights on the widest common grid that adds at most `distortion`: few bits when entropy-coded."""
    problem = LeastSquares.of(activations, chunks, weights)
    spread = float(problem.solution.square().mean().sqrt())
    limits = torch.full((len(problem.solution),), float(LARGEST))
    low, high = (
        np.log2(spread / WIDEST_RANGE + SMALLEST_SCALE),
        np.log2(4 * spread + SMALLEST_SCALE),
    )
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        step = torch.tensor(2.0**middle, dtype=torch.float64)
        fits = problem.distortion(problem.rounded(step, limits) * step) <= distortion
        low, high = (middle, high) if fits else (low, middle)
    step = torch.tensor(2.0**low).float().double()
    whole = problem.rounded(step, limits).numpy()
    length = chunks.shape[1]
    return IntegerLayer(
        weight=np.ascontiguousarray(whole.T.astype(np.int8)),
        bias=np.zeros(length, np.int32),
        scale=np.full(length, float(step), np.float32),
    )


def _with_ones(rows: Float32Array) -> Float32Array:
    """The rows with a one behind each, for the bias."""
    return np.column_stack([rows, np.ones(len(rows), np.float32)])
