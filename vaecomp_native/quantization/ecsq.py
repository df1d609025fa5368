"""Entropy-constrained scalar quantization, uniform and iterative (Choi, El-Khamy, Lee 2017).

Both minimize sum importance * error^2 + rate_weight * bits, where the importance is the diagonal of
a Hessian (arXiv 1612.01543) and the bits are those of an entropy coder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.quantization.assignment import cheapest_codewords
from vaecomp_native.quantization.codebooks import (
    Float64Array,
    IntArray,
    codebook_matrix,
    flatten,
    nearest_codewords,
    weighted_means,
)
from vaecomp_native.quantization.entropy import codebook_bits, entropy_bits, objective, table_bits
from vaecomp_native.quantization.matrix import Float32Array, QuantizedMatrix
from vaecomp_native.quantization.uniform import high_rate_step, round_to_step, uniform, usable_step

_COARSE_STEPS = 2.0 ** np.arange(-2, 3.75, 0.5)
"""Relative to the best step at high rates; at low rates it is wider."""
_FINE_STEPS = 2.0 ** np.arange(-0.4375, 0.5, 0.0625)
_START = 0.5
"""First step of the iterations, likewise. Won over 1 and 2 where importance varies."""
_ITERATIONS = 40
_MIN_GAIN = 1e-4
"""Relative gain of an iteration at which the next one is not worth its time."""


def entropy_constrained_uniform(
    values: Float32Array, importance: npt.NDArray[Any], rate_weight: float
) -> QuantizedMatrix:
    """Round to the best uniform grid through 0, and give each cell its weighted mean as codeword.

    Where the codewords do not pay for their codebook, the multiples of the step stand for
    themselves. The step comes from a search over a coarse grid and then a fine one; the result is
    never worse than `uniform` and than a single codeword for all.

    Args:
        values: float32 [R, C], finite, at least one.
        importance: not negative, finite, broadcasts to [R, C].
        rate_weight: importance * error^2 that is worth one bit.
    """
    flat, weights = flatten(values, importance)
    step = high_rate_step(importance, rate_weight)
    if np.isfinite(step):
        for factors in (_COARSE_STEPS, _FINE_STEPS):
            steps = sorted({usable_step(values, step * factor) for factor in factors})
            step = min(steps, key=lambda step: _grid_cost(flat, weights, rate_weight, step))
    step = usable_step(values, step)
    symbols = round_to_step(values, step)
    candidates = (
        uniform(values, importance, rate_weight),
        QuantizedMatrix(symbols, step),
        _means_of(symbols, flat, weights),
        _means_of(np.zeros_like(symbols), flat, weights),
    )
    return _best(candidates, values, importance, rate_weight)


def entropy_constrained_lloyd(
    values: Float32Array, importance: npt.NDArray[Any], rate_weight: float
) -> QuantizedMatrix:
    """Let assignment and codewords improve each other: what matters little takes a cheap codeword.

    Starts from a uniform grid finer than needed, since codewords that do not pay lose their members
    and go. The arguments are those of `entropy_constrained_uniform`, and the result is never worse
    than what that finds.
    """
    flat, weights = flatten(values, importance)
    step = usable_step(values, high_rate_step(importance, rate_weight) * _START)
    previous = np.inf
    for clustering in descend(flat, weights, round_to_step(values, step).ravel(), rate_weight):
        if clustering.objective >= previous * (1 - _MIN_GAIN):
            break
        previous = clustering.objective
    candidates = (
        entropy_constrained_uniform(values, importance, rate_weight),
        codebook_matrix(clustering.labels, clustering.codewords, values.shape),
    )
    return _best(candidates, values, importance, rate_weight)


@dataclass(frozen=True)
class Clustering:
    """Codewords float32 [K], ascending, the label int64 [N] of each value, and what it costs."""

    codewords: Float32Array
    labels: IntArray
    objective: float


def descend(
    values: Float64Array, weights: Float64Array, symbols: npt.NDArray[Any], rate_weight: float
) -> Iterator[Clustering]:
    """Lloyd's iterations from the clusters of equal symbols; the objective never rises.

    It is sum weights * (values - codeword)^2 + rate_weight * ideal bits. Codewords are bfloat16
    numbers at every step: the one nearest to a mean is the best one for its cluster.
    """
    labels = symbols.astype(np.int64) - symbols.min()
    for _ in range(_ITERATIONS):
        counts = np.bincount(labels)
        codewords = nearest_codewords(weighted_means(values, weights, labels, counts.size))
        order = np.argsort(codewords, kind="stable")
        order = order[counts[order] > 0]
        codewords, bits = codewords[order], np.log2(labels.size / counts[order])
        labels = cheapest_codewords(values, weights, codewords, rate_weight * bits)
        errors = weights * (values - codewords[labels]) ** 2
        rate = entropy_bits(np.bincount(labels))
        yield Clustering(codewords, labels, float(errors.sum()) + rate_weight * rate)


def _grid_cost(
    values: Float64Array, weights: Float64Array, rate_weight: float, step: float
) -> float:
    """The objective of a step, with multiples of it or with means as codewords: the lesser one."""
    symbols = round_to_step(values, step)
    errors = values - step * symbols
    cells = symbols - symbols.min()
    counts = np.bincount(cells)
    masses = np.bincount(cells, weights)
    moments = np.bincount(cells, weights * errors)
    gained = float((moments**2 / np.where(masses > 0, masses, 1)).sum())
    spent = rate_weight * codebook_bits(int(np.count_nonzero(counts)))
    bits = entropy_bits(counts) + table_bits(counts)
    return float((weights * errors**2).sum()) + rate_weight * bits + min(spent - gained, 0)


def _means_of(
    symbols: npt.NDArray[np.int32], values: Float64Array, weights: Float64Array
) -> QuantizedMatrix:
    labels = symbols.ravel().astype(np.int64) - symbols.min()
    means = weighted_means(values, weights, labels, int(labels.max()) + 1)
    return codebook_matrix(labels, nearest_codewords(means), symbols.shape)


def _best(
    candidates: tuple[QuantizedMatrix, ...],
    values: Float32Array,
    importance: npt.NDArray[Any],
    rate_weight: float,
) -> QuantizedMatrix:
    return min(candidates, key=lambda matrix: objective(matrix, values, importance, rate_weight))
