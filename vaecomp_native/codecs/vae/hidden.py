"""Hidden activations of an integer decoder, computed by the integer decoder itself."""

from __future__ import annotations

import numpy as np

from vaecomp_native.decoders import Float32Array, Int8Array, IntegerDecoder, IntegerLayer

LARGEST = 127
"""Largest magnitude of latents and weights, and largest hidden activation."""


def hidden_activations(layer: IntegerLayer, latents: Int8Array, threads: int = 0) -> Float32Array:
    """What a hidden layer makes of latents [K, L]: whole numbers 0 to 127 as float32 [K, H]."""
    width = len(layer.weight)
    copy = IntegerLayer(
        weight=np.eye(width, dtype=np.int8),
        bias=np.zeros(width, np.int32),
        multiplier=None,
        shift=None,
        scale=np.ones(width, np.float32),
    )
    return IntegerDecoder((layer, copy)).forward(latents, threads=threads)
