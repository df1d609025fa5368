"""Fit the two polynomials of the noise recipe in docs/kernels.md and print them as float32 constants.

usage: python docs/fit_noise_polynomials.py   (needs scipy)

The constants are part of the kernel's definition: changing them changes every noise variant, so this
script documents where they come from; it is not run at build time.
"""

from __future__ import annotations

import numpy as np
from scipy.special import erfcinv


def minimax(
    design: np.ndarray, target: np.ndarray, weight: np.ndarray, rounds: int = 300
) -> np.ndarray:
    """Coefficients of a near-minimax linear fit (Lawson's iteratively reweighted least squares)."""
    w = np.ones_like(target)
    for _ in range(rounds):
        scaled = design * (w * weight)[:, None]
        coefficients = np.linalg.lstsq(scaled, target * w * weight, rcond=None)[0]
        error = np.abs(design @ coefficients - target) * weight
        w *= (error / error.max() + 0.02) ** 0.3
    return coefficients


def main() -> None:
    """Print ln(1 + x) on [sqrt(1/2) - 1, sqrt(2) - 1] and the normal quantile's smooth factor."""
    x = np.linspace(np.sqrt(0.5), np.sqrt(2.0), 8001) - 1.0
    log = minimax(np.stack([x**k for k in range(1, 8)], axis=1), np.log1p(x), np.ones_like(x))

    w = np.linspace(1e-4, np.sqrt(22.3), 20001) ** 2
    t = np.exp(-w) / (1 + np.sqrt(-np.expm1(-w)))
    factor = np.sqrt(2) * erfcinv(t) / np.sqrt(-np.expm1(-w))
    v = np.sqrt(w + 4.0) - 3.5
    design = np.stack([v**k for k in range(11)], axis=1)
    quantile = minimax(design, factor, 1 / factor)

    for name, c, fit, target in (
        ("log", log, np.stack([x**k for k in range(1, 8)], 1) @ log, np.log1p(x)),
        ("quantile", quantile, design @ quantile, factor),
    ):
        print(f"{name}: largest error {np.abs(fit - target).max():.2e}")
        for value in c:
            single = np.float32(value)
            print(f"  {float(single)!r}f  0x{single.view(np.uint32):08x}")


if __name__ == "__main__":
    main()
