"""Variational Bayesian quantization (Yang, Bamler, Mandt 2020, arXiv 2002.08158).

A number with a wide posterior may move to a point that is cheap to name. Points are quantiles of
the prior. The quantile at (i + 1/2) / 2^n has a name of n bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.quantization.codebooks import (
    Float64Array,
    IntArray,
    codebook_matrix,
    flatten,
    nearest_codewords,
    weighted_means,
)
from vaecomp_native.quantization.matrix import Float32Array, QuantizedMatrix, Quantizer

LONGEST_NAME = 11
"""The bits of the longest name. They make 4,095 points, and a codebook holds 4,096."""
_PLACES = 1 << (LONGEST_NAME + 1)


def variational_bayesian_quantization(
    values: Float32Array, importance: npt.NDArray[Any], rate_weight: float
) -> QuantizedMatrix:
    """Take each value to the quantile that minimizes error and bits together.

    The posterior of a value has that value as its mean and 1 / importance as its variance. So the
    published objective (z - mean)^2 / (2 variance) + lambda * bits is half of ours with
    rate_weight = 2 lambda. The prior is the empirical distribution of the values. The first pass
    counts n bits for a point of level n, the second n - log2(share of level n), as published. The
    codebook holds the points in use. Each is moved to the weighted mean of the values that took it.
    That costs nothing, because the codebook is in the file anyway.

    Args:
        values: posterior means, float32 [R, C], finite, at least one.
        importance: 1 / posterior variance, not negative, finite, broadcasts to [R, C].
        rate_weight: the importance * error^2 that is worth one bit.
    """
    means, weights = flatten(values, importance)
    points = dyadic_quantiles(means)
    lengths = np.arange(LONGEST_NAME + 1, dtype=np.float64)
    chosen = cheapest_points(means, weights, points, rate_weight * lengths)
    shares = np.bincount(point_levels()[chosen], minlength=lengths.size) + 1
    lengths -= np.log2(shares / shares.sum())
    chosen = cheapest_points(means, weights, points, rate_weight * lengths)
    centres = weighted_means(means, weights, chosen, points.size)
    return codebook_matrix(chosen, nearest_codewords(centres), values.shape)


def quantize_latents(
    means: Float32Array,
    variances: Float32Array,
    rate_weight: float,
    quantizer: Quantizer = variational_bayesian_quantization,
) -> list[QuantizedMatrix]:
    """Quantize a variational autoencoder's latents, each channel with its own prior and codebook.

    Args:
        means: posterior means, float32 [N, L].
        variances: posterior variances, float32 [N, L], positive.
        rate_weight: twice the published lambda.
        quantizer: quantizes each channel by itself, with a step or a codebook of its own.

    Returns:
        A matrix [N, 1] for each of the L channels.
    """
    return [
        quantizer(mean[:, None], precision[:, None], rate_weight)
        for mean, precision in zip(means.T, 1 / variances.T.astype(np.float64), strict=True)
    ]


def dyadic_quantiles(values: Float64Array) -> Float32Array:
    """Quantiles j / 2^12 of the values for j = 1 to 4,095, as bfloat16 numbers, ascending."""
    places = np.arange(1, _PLACES) / _PLACES * (values.size - 1)
    return nearest_codewords(np.interp(places, np.arange(values.size), np.sort(values)))


def point_levels() -> IntArray:
    """The level n of each point, the bits of its name: j / 2^12 is (i + 1/2) / 2^n."""
    places = np.arange(1, _PLACES)
    levels: IntArray = LONGEST_NAME - np.log2(places & -places).astype(np.int64)
    return levels


def cheapest_points(
    values: Float64Array, weights: Float64Array, points: Float32Array, costs: Float64Array
) -> IntArray:
    """For each value, find the point that minimizes weight * (value - point)^2 + its level's cost.

    Args:
        values: float64 [N].
        weights: float64 [N], not negative.
        points: float32 [4095], ascending.
        costs: float64 [12], the cost of a point of each level.

    Returns:
        The indices of the points, int64 [N].

    Only the next point on either side can be the best of a level, so that a value has two
    candidates a level. Point j has level n where j is an odd multiple of 2^(11 - n).
    """
    below = np.searchsorted(points, values, side="right")
    best = np.full(values.size, np.inf)
    chosen = np.zeros(values.size, np.int64)
    for level, cost in enumerate(costs):
        unit = 1 << (LONGEST_NAME - level)
        left = (below - unit) // (2 * unit) * (2 * unit) + unit
        for place in (left, left + 2 * unit):
            index = np.clip(place, unit, _PLACES - unit) - 1
            found = weights * (values - points[index]) ** 2 + cost
            better = found < best
            best[better] = found[better]
            chosen[better] = index[better]
    return chosen
