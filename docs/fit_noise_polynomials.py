"""Fit the three polynomials of the noise recipe in docs/kernels.md and print float32 constants.

usage: python docs/fit_noise_polynomials.py

The constants are part of the kernel's definition: changing them changes every noise variant. This
script documents where they come from. It is not run at build time.
"""

from __future__ import annotations

import numpy as np


def minimax(
    design: np.ndarray, target: np.ndarray, weight: np.ndarray, rounds: int = 400
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
    """Print -2 ln(1 + x) / x, and cosine and sine of a quarter turn times y, divided by sqrt(2)."""
    x = np.linspace(np.sqrt(0.5), np.sqrt(2.0), 8002) - 1.0
    log = -2 * np.log1p(x) / x
    y = np.linspace(0.0, 0.5, 4001)
    cosine, sine = np.cos(np.pi / 2 * y) / np.sqrt(2), np.sin(np.pi / 2 * y) / np.sqrt(2)
    one = np.ones_like(y)
    for name, powers, target, weight in (
        ("log (relative)", [x**k for k in range(6)], log, 1 / np.abs(log)),
        ("cosine", [y ** (2 * k) for k in range(4)], cosine, one),
        ("sine", [y ** (2 * k + 1) for k in range(4)], sine, one),
    ):
        design = np.stack(powers, axis=1)
        coefficients = minimax(design, target, weight)
        error = np.abs(design @ coefficients - target) * weight
        print(f"{name}: largest error {error.max():.2e}")
        for value in coefficients:
            single = np.float32(value)
            print(f"  {float(single)!r}f  0x{single.view(np.uint32):08x}")


if __name__ == "__main__":
    main()
