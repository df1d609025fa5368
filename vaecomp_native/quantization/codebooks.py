"""From clusters of numbers to a quantized matrix with a codebook."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.quantization.matrix import Codebook, Float32Array, QuantizedMatrix, to_bfloat16

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CODEBOOK_SIZE = 4096
"""The maximum entries of a codebook."""
_LARGEST_BFLOAT16 = float.fromhex("0x1.fep127")


def flatten(
    values: npt.NDArray[Any], importance: npt.NDArray[Any]
) -> tuple[Float64Array, Float64Array]:
    """Flatten values [R, C] and an importance that broadcasts to them, to float64 [R * C] each."""
    weights = np.broadcast_to(importance, values.shape)
    return values.astype(np.float64).ravel(), weights.astype(np.float64).ravel()


def nearest_codewords(values: npt.NDArray[Any]) -> Float32Array:
    """The nearest finite bfloat16 numbers, as float32."""
    return to_bfloat16(np.clip(values, -_LARGEST_BFLOAT16, _LARGEST_BFLOAT16))


def weighted_means(
    values: Float64Array, weights: Float64Array, labels: IntArray, clusters: int
) -> Float64Array:
    """The weighted mean of the values of each cluster, float64 [clusters].

    A cluster with only weights 0 gets its plain mean, an empty one 0.
    """
    masses = np.bincount(labels, weights, clusters)
    sums = np.bincount(labels, weights * values, clusters)
    if not masses.all():
        weightless = masses == 0
        masses[weightless] = np.maximum(np.bincount(labels, minlength=clusters)[weightless], 1)
        sums[weightless] = np.bincount(labels, values, clusters)[weightless]
    return sums / masses


def codebook_matrix(
    labels: IntArray, codewords: Float32Array, shape: tuple[int, ...]
) -> QuantizedMatrix:
    """Make the matrix of `shape` whose element i is `codewords[labels[i]]`.

    Args:
        labels: int64 [N].
        codewords: bfloat16 numbers, float32 [K]; at most 4,096 different ones may be in use.
        shape: [R, C], of N elements.

    The codebook holds the codewords in use, ascending. The one nearest to 0 gets symbol 0.
    """
    used = np.flatnonzero(np.bincount(labels, minlength=codewords.size))
    levels, places = np.unique(codewords[used], return_inverse=True)
    first = -int(np.argmin(np.abs(levels)))
    symbol_of = np.zeros(codewords.size, np.int32)
    symbol_of[used] = places + first
    return QuantizedMatrix(symbol_of[labels].reshape(shape), codebook=Codebook(first, levels))
