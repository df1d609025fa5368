"""Which errors matter more, judged by the weights alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vaecomp_native.decoders import Float32Array

SIZE_EXPONENT = 0.25
SMALLEST_SPREAD = 2.0**-8
"""Of a tensor's root mean square: tensors that are almost constant need no finer grid."""


def tensor_importance(tensors: Sequence[np.ndarray], chunk_length: int) -> Float32Array:
    """Factors of the errors for tensors cut into chunks: 1 / (deviation * size^(1/4)) of each.

    A layer bears errors in proportion to its weights, and the errors of all layers add up at the
    output whatever the layers' sizes, so that a small layer should get finer steps: minimizing the
    sum of the layers' relative errors for a number of bits gives an exponent of 1/2, and equal
    errors everywhere 0. The value between is an empirical one.

    Args:
        tensors: arrays of numbers in the order in which they are cut into chunks.
        chunk_length: numbers a chunk, C.

    Returns:
        float32 [K, C], zero in the padding. Only the ratios have a meaning.
    """
    sizes = np.array([tensor.size for tensor in tensors])
    spreads = np.array([_spread(tensor) for tensor in tensors])
    spreads[spreads == 0] = spreads[spreads > 0].mean() if (spreads > 0).any() else 1.0
    factors = 1 / (spreads * np.maximum(sizes, 1) ** SIZE_EXPONENT)
    total = int(sizes.sum())
    flat = np.zeros(total + -total % chunk_length, np.float32)
    flat[:total] = np.repeat(factors / factors.max(initial=1e-30), sizes)
    return flat.reshape(-1, chunk_length)


def _spread(tensor: np.ndarray) -> float:
    if not tensor.size:
        return 0.0
    values = tensor.astype(np.float64)
    return float(max(values.std(), SMALLEST_SPREAD * np.sqrt(np.square(values).mean())))
