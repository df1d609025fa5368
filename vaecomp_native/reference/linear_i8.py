"""The integer decoder's forward pass (docs/kernels.md, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def accumulate(
    inputs: npt.NDArray[np.int8], weight: npt.NDArray[np.int8], bias: npt.NDArray[np.int32]
) -> npt.NDArray[np.int32]:
    """Apply one layer: inputs [K, in], weight [out, in], bias [out] to int32 [K, out], mod 2^32."""
    sums: npt.NDArray[np.int32] = inputs.astype(np.int32) @ weight.T.astype(np.int32) + bias
    return sums


def requantize(
    accumulators: npt.NDArray[np.int32],
    multiplier: npt.NDArray[np.int32],
    shift: npt.NDArray[np.uint8],
) -> npt.NDArray[np.int8]:
    """Make the next layer's int8 inputs, 0 to 127, from accumulators [K, out], with the ReLU."""
    product = accumulators.astype(np.int64) * multiplier.astype(np.int64)
    half = np.int64(1) << np.maximum(shift.astype(np.int64) - 1, 0)
    rounded = np.where(shift == 0, product, (product + half) >> shift.astype(np.int64))
    return np.clip(rounded, 0, 127).astype(np.int8)


def decoder_i8(
    layers: Sequence[tuple[npt.NDArray[Any], ...]], latents: npt.NDArray[np.int8]
) -> npt.NDArray[np.float32]:
    """Decode int8 latents [K, L] to float32 [K, C] with an integer decoder.

    A hidden layer is (weight int8 [out, in], bias int32 [out], multiplier int32 [out], shift uint8
    [out]). The last layer is (weight, bias, scale float32 [out]).
    """
    *hidden, (last_weight, last_bias, scale) = layers
    x = latents
    for weight, bias, multiplier, shift in hidden:
        x = requantize(accumulate(x, weight, bias), multiplier, shift)
    with np.errstate(all="ignore"):
        outputs = accumulate(x, last_weight, last_bias).astype(np.float32) * scale
    return np.asarray(outputs, np.float32)
