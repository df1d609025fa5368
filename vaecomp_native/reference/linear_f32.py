"""The float32 decoder's forward pass with an emulated fma (docs/kernels.md, section 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def fma(a: Floats, b: Floats, c: Floats) -> Floats:
    """Compute ``a * b + c`` of broadcast float32 arrays, rounded once to float32.

    The product of two float32 numbers is exact in float64. Its sum with ``c`` is rounded to odd in
    float64. With at least two spare bits, only the second rounding, to float32, counts then (Boldo
    and Melquiond 2008). TwoSum (Knuth) gives the error of the sum. The error's sign tells on which
    side of the sum the exact value lies.
    """
    with np.errstate(all="ignore"):
        product = a.astype(np.float64) * b.astype(np.float64)
        addend = c.astype(np.float64)
        total = product + addend
        virtual = total - product
        error = (product - (total - virtual)) + (addend - virtual)
        bits = total.view(np.int64)
        inexact_and_even = np.isfinite(total) & (error != 0) & (bits & 1 == 0)
        towards_error = np.where((error > 0) == (total > 0), 1, -1)
        odd = np.where(inexact_and_even, bits + towards_error, bits)
        return odd.view(np.float64).astype(np.float32)


def linear(inputs: Floats, weight: Floats, bias: Floats) -> Floats:
    """Apply one layer: inputs [K, in], weight [out, in], bias [out] to accumulators [K, out]."""
    acc = np.broadcast_to(bias, (len(inputs), len(bias)))
    for i in range(weight.shape[1]):
        acc = fma(weight[None, :, i], inputs[:, i, None], acc)
    return acc


def decoder_f32(layers: Sequence[tuple[Floats, Floats]], latents: Floats) -> Floats:
    """Decode float32 latents [K, L] to float32 [K, C].

    A layer is (weight [out, in], bias [out]), both float32.
    """
    x = latents
    for weight, bias in layers[:-1]:
        acc = linear(x, weight, bias)
        x = np.where(acc > 0, acc, np.float32(0))
    outputs = linear(x, *layers[-1])
    return np.where(np.isnan(outputs), np.float32(np.nan), outputs)
