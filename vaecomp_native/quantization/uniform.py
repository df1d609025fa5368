"""Uniform quantization: the baseline of all quantizers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.quantization.matrix import Float32Array, QuantizedMatrix, to_bfloat16

_LARGEST_SYMBOL = 2047
"""The largest symbol in magnitude: a frequency table spans 4,096 symbols."""
_LARGEST_PLANNED_SYMBOL = 2040
"""The largest symbol for an unrounded step: bfloat16 may round the step down."""
_SMALLEST_STEP = 2.0**-126
_LARGEST_STEP = 2.0**127
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


def uniform(
    values: Float32Array, importance: npt.NDArray[Any], rate_weight: float
) -> QuantizedMatrix:
    """Round values float32 [R, C], finite and at least one, to multiples of one step.

    The step minimizes mean importance * error^2 + rate_weight * bits, where it is small against the
    values. There the mean error^2 is step^2 / 12, and a halved step costs one bit. So
    step^2 = (6 / ln 2) * rate_weight / mean importance.
    """
    step = usable_step(values, high_rate_step(importance, rate_weight))
    return QuantizedMatrix(round_to_step(values, step), step)


def high_rate_step(importance: npt.NDArray[Any], rate_weight: float) -> float:
    """The best step where it is small against the values; infinite without any importance."""
    mean = float(importance.mean(dtype=np.float64))
    return (6 / np.log(2) * rate_weight / mean) ** 0.5 if mean > 0 else np.inf


def usable_step(values: Float32Array, step: float) -> float:
    """The bfloat16 number nearest to `step` whose multiples reach all values.

    Values far from the rest widen the step: nothing is cut off.
    """
    widest = float(np.abs(values).max())
    wanted = max(step, widest / _LARGEST_PLANNED_SYMBOL)
    return float(to_bfloat16(min(max(wanted, _SMALLEST_STEP), _LARGEST_STEP)))


def round_to_step(values: npt.NDArray[Any], step: float) -> npt.NDArray[np.int32]:
    """Symbols, int32, of the nearest multiples of the step that float32 can hold."""
    limit = min(_LARGEST_SYMBOL, int(_LARGEST_FLOAT32 / step))
    symbols = np.rint(values.astype(np.float64) / step)
    return np.clip(symbols, -limit, limit).astype(np.int32)
