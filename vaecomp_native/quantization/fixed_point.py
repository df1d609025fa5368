"""Real gains as the integer decoder's multipliers and shifts (docs/kernels.md, section 3)."""

from __future__ import annotations

import numpy as np


def fixed_point(gains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Multipliers int32 and shifts uint8 with `multiplier / 2**shift` nearest to the gains.

    Args:
        gains: float64 [n], clipped to the range from 0 to 2^31 - 1. Gains down to 2^-32 keep 31
            significant bits.
    """
    gains = np.clip(gains, 0.0, 2.0**31 - 1)
    _, exponents = np.frexp(gains)
    shifts = np.clip(31 - exponents, 0, 62)
    multipliers = np.minimum(np.rint(np.ldexp(gains, shifts)), 2.0**31 - 1)
    return multipliers.astype(np.int32), shifts.astype(np.uint8)
