"""Hessian-weighted k-means (Choi, El-Khamy, Lee 2017, arXiv 1612.01543)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.quantization.codebooks import (
    CODEBOOK_SIZE,
    Float64Array,
    IntArray,
    codebook_matrix,
    flatten,
    nearest_codewords,
)
from vaecomp_native.quantization.entropy import codebook_bits, entropy_bits, table_bits
from vaecomp_native.quantization.matrix import Float32Array, QuantizedMatrix

_ITERATIONS = 10
_PATIENCE = 4
"""The number of splits without a gain after which the search ends."""


def hessian_weighted_kmeans(
    values: Float32Array, importance: npt.NDArray[Any], rate_weight: float
) -> QuantizedMatrix:
    """Take each value to the nearest codeword. Codewords are means weighted by importance.

    The clusters are those of fixed-length codes. Only their number takes entropy coding into
    account: it minimizes sum importance * error^2 + rate_weight * bits, codebook included. The
    number grows from 1 by splits of the clusters with the largest errors, until these do not help.

    Args:
        values: float32 [R, C], finite, at least one.
        importance: not negative, finite, broadcasts to [R, C].
        rate_weight: the importance * error^2 that is worth one bit.
    """
    flat, weights = flatten(values, importance)
    order = np.argsort(flat)
    ascending, weights = flat[order], weights[order]
    starts = np.zeros(1, np.int64)
    best, min_cost, since, size = starts, np.inf, 0, 0
    while starts.size > size and since < _PATIENCE:
        size, since = starts.size, since + 1
        errors = _errors(ascending, weights, starts)
        cost = float(errors.sum()) + rate_weight * _bits(starts, flat.size)
        if cost < min_cost:
            best, min_cost, since = starts, cost, 0
        starts = _converge(ascending, weights, _split(ascending, weights, starts, errors))
    codewords = np.unique(_codewords(ascending, weights, best))
    labels = np.searchsorted(_borders(codewords), flat)
    return codebook_matrix(labels, codewords, values.shape)


# Clusters of ascending values are the indices at which they start, int64 [K]. None is empty.


def _counts(starts: IntArray, size: int) -> IntArray:
    return np.diff(starts, append=size)


def _codewords(ascending: Float64Array, weights: Float64Array, starts: IntArray) -> Float32Array:
    """Weighted means float32 [K]; plain means where all weights are 0."""
    masses = np.add.reduceat(weights, starts)
    moments = np.add.reduceat(weights * ascending, starts)
    plain = np.add.reduceat(ascending, starts) / _counts(starts, ascending.size)
    return nearest_codewords(np.divide(moments, masses, out=plain, where=masses > 0))


def _borders(codewords: Float32Array) -> Float64Array:
    """Middles float64 [K - 1] between neighbours of codewords [K]."""
    middles: Float64Array = (codewords[1:].astype(np.float64) + codewords[:-1]) / 2
    return middles


def _errors(ascending: Float64Array, weights: Float64Array, starts: IntArray) -> Float64Array:
    """Sum of weight * error^2 float64 [K] of each cluster."""
    codewords = _codewords(ascending, weights, starts)
    decoded = np.repeat(codewords, _counts(starts, ascending.size))
    return np.add.reduceat(weights * (ascending - decoded) ** 2, starts)


def _bits(starts: IntArray, size: int) -> float:
    counts = _counts(starts, size)
    return entropy_bits(counts) + table_bits(counts) + codebook_bits(starts.size)


def _split(
    ascending: Float64Array, weights: Float64Array, starts: IntArray, errors: Float64Array
) -> IntArray:
    """Cut the quarter of the clusters with the largest errors in two, at their codewords."""
    more = min(starts.size // 4 + 1, CODEBOOK_SIZE - starts.size)
    chosen = np.argsort(errors)[starts.size - min(more, starts.size) :]
    cuts = np.searchsorted(ascending, _codewords(ascending, weights, starts)[chosen])
    return _without_empty(np.concatenate([starts, cuts]), ascending.size)


def _converge(ascending: Float64Array, weights: Float64Array, starts: IntArray) -> IntArray:
    """Lloyd's iterations for fixed-length codes."""
    for _ in range(_ITERATIONS):
        borders = _borders(np.unique(_codewords(ascending, weights, starts)))
        cuts = np.searchsorted(ascending, borders)
        starts = _without_empty(np.concatenate([[0], cuts]), ascending.size)
    return starts


def _without_empty(starts: IntArray, size: int) -> IntArray:
    found = np.unique(starts)
    return found[found < size]
