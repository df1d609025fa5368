"""The last layer's integers for fixed hidden activations: least squares with error feedback."""

from __future__ import annotations

import numpy as np
import torch

from vaecomp_native.decoders import Float32Array, IntegerLayer
from vaecomp_native.training.hidden import LARGEST

RIDGE = 1e-6
"""Of the mean of the second moments: chooses small weights where the activations leave a choice."""
SMALLEST_SCALE = 2.0**-120
LARGEST_BIAS = 2.0**22
"""In units of the scale: accumulators stay below 2^24, which float32 holds exactly."""


def solve_output(
    activations: Float32Array, chunks: np.ndarray, weights: np.ndarray
) -> IntegerLayer:
    """int8 weights with a scale for each output that decode the activations to the chunks.

    Minimises the squared error, weighted with each chunk's mean squared importance, and quantises
    one hidden unit after another while the units behind take over its error (Frantar et al. 2022,
    arXiv 2210.17323; the second moments of the activations are the Hessian).

    Args:
        activations: float32 [K, H].
        chunks: float32 [K, C].
        weights: float32 [K, C].
    """
    moments, products = _normal_equations(activations, chunks, weights)
    factor = torch.linalg.cholesky(moments)
    solution = torch.cholesky_solve(products, factor)
    feedback = torch.linalg.cholesky(torch.cholesky_inverse(factor), upper=True)
    scale = torch.maximum(solution[:-1].abs().amax(0) / LARGEST, solution[-1].abs() / LARGEST_BIAS)
    scale = torch.where(scale > SMALLEST_SCALE, scale, torch.ones_like(scale)).float().double()
    whole = torch.empty_like(solution)
    for i in range(len(solution)):
        limit = LARGEST if i < len(solution) - 1 else 2 * LARGEST_BIAS
        whole[i] = torch.clamp(torch.round(solution[i] / scale), -limit, limit)
        error = (solution[i] - whole[i] * scale) / feedback[i, i]
        solution[i + 1 :].addr_(feedback[i, i + 1 :], error, alpha=-1)
    return IntegerLayer(
        weight=np.ascontiguousarray(whole[:-1].T.numpy().astype(np.int8)),
        bias=whole[-1].numpy().astype(np.int32),
        multiplier=None,
        shift=None,
        scale=scale.numpy().astype(np.float32),
    )


def _normal_equations(
    activations: Float32Array, chunks: np.ndarray, weights: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted moments [H + 1, H + 1] of activations and a one; their products with the chunks."""
    width, length = activations.shape[1] + 1, chunks.shape[1]
    moments = torch.zeros(width, width, dtype=torch.float64)
    products = torch.zeros(width, length, dtype=torch.float64)
    for start in range(0, len(chunks), 1024):
        rows = slice(start, start + 1024)
        extended = _with_ones(activations[rows])
        share = torch.from_numpy(np.square(weights[rows], dtype=np.float64).mean(1))[:, None]
        moments += extended.T @ (extended * share)
        products += (extended * share).T @ torch.from_numpy(chunks[rows].astype(np.float64))
    ridge = RIDGE * moments.diagonal()[:-1].mean().clamp_min(1e-30)
    moments.diagonal().add_(ridge)
    return moments, products


def _with_ones(rows: np.ndarray) -> torch.Tensor:
    """The rows in float64 with a one behind each."""
    return torch.from_numpy(np.column_stack([rows, np.ones(len(rows))]).astype(np.float64))
