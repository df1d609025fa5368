"""Gaussian noise at random positions of copies of a weight vector (docs/kernels.md, section 2)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float32]
Selection = npt.NDArray[np.bool_]

_MASK = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ELEMENTS_PER_SLICE = 1 << 20


def _floats(*bits: int) -> Floats:
    return np.array(bits, np.uint32).view(np.float32)


_LOG = _floats(0xC0000026, 0x3F7FF32D, 0xBF2A47F2, 0x3F021099, 0xBEE1DAAD, 0x3E925A19)
_COSINE = _floats(0x3F3504F3, 0xBF5F52B1, 0x3E37A002, 0xBC6C6F73)
_SINE = _floats(0x3F8E2C19, 0xBEE9DD13, 0x3D66C41D, 0xBB54CF94)
_EXPONENT = _floats(0xB4317218)[0]
_SQRT_HALF = np.int32(0x3F3504F3)
_EXPONENT_BITS = np.int32(-(1 << 23))


def philox4x32(counter: tuple[Words, Words, Words, Words], key: tuple[int, int]) -> list[Words]:
    """Compute the four outputs of Philox4x32-7 (Salmon et al. 2011): 32-bit words in uint64."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(7):
        first = c0 * np.uint64(0xD2511F53)
        second = c2 * np.uint64(0xCD9E8D57)
        c0 = second >> _HALF ^ c1 ^ np.uint64(k0)
        c1 = second & _MASK
        c2 = first >> _HALF ^ c3 ^ np.uint64(k1)
        c3 = first & _MASK
        k0 = (k0 + 0x9E3779B9) & 0xFFFFFFFF
        k1 = (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [c0, c1, c2, c3]


def random_blocks(
    seed: int, first_variant: int, rows: int, first_block: int, blocks: int
) -> npt.NDArray[np.int64]:
    """Make the random words u of every (variant, block): int64 [rows, blocks, 4], below 2^32."""
    block = np.uint64(first_block) + np.arange(blocks, dtype=np.uint64)
    variant = (np.uint64(first_variant) + np.arange(rows, dtype=np.uint64))[:, None]
    counter = (block & _MASK, block >> _HALF, variant & _MASK, variant >> _HALF)
    outputs = philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32))
    return np.stack(outputs, axis=-1).astype(np.int64)


def reciprocal(count: int) -> np.float32:
    """Compute 1 / count in float64, rounded towards zero to float32.

    A count of 0 is taken as 1, because its result is never used.
    """
    exact = 1 / np.float64(max(count, 1))
    nearest = np.float32(exact)
    below: np.float32 = np.nextafter(nearest, np.float32(0))
    return below if nearest > exact else nearest


def uniform_numbers(words: npt.NDArray[np.int64], threshold: int) -> tuple[Selection, Floats]:
    """Find the words that choose their position, and the number t in (0, 1] of every word."""
    k = words & 0x7FFFFFFF
    chosen = k < threshold
    m = np.where(chosen, k, k - threshold).astype(np.float32)
    scale = np.where(chosen, reciprocal(threshold), reciprocal((1 << 31) - threshold))
    return chosen, (m + np.float32(0.5)) * scale


def radii(t: Floats) -> Floats:
    """Compute sqrt(-2 ln t), float32, for t in (0, 1]."""
    bits = t.view(np.int32)
    exponent = (bits - _SQRT_HALF) & _EXPONENT_BITS
    x = (bits - exponent).view(np.float32) - np.float32(1)
    w: Floats = exponent.astype(np.float32) * _EXPONENT + _polynomial(_LOG, x) * x
    return np.sqrt(w)


def cosines_and_sines(t: Floats) -> tuple[Floats, Floats]:
    """Compute cosines and sines of t quarter turns (pi/2 * t), float32."""
    y = t - np.float32(0.5)
    cosine = _polynomial(_COSINE, y * y)
    sine = _polynomial(_SINE, y * y) * y
    return cosine - sine, cosine + sine


def _polynomial(coefficients: Floats, x: Floats) -> Floats:
    result = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        result = result * x + coefficient
    return result


def noise_of_words(words: npt.NDArray[np.int64], threshold: int, sigma: np.float32) -> Floats:
    """Compute the noise, float32, that words [..., 4] of blocks add to their positions.

    It is -0 at positions that are not chosen.
    """
    chosen, t = uniform_numbers(words, threshold)
    radius = sigma * radii(t[..., 0::2])
    pairs = np.stack([radius * part for part in cosines_and_sines(t[..., 1::2])], axis=-1)
    magnitude = pairs.reshape(words.shape)
    noise = np.where(words >> 31 != 0, -magnitude, magnitude)
    return np.where(chosen, noise, np.float32(-0.0))


def noise_variants(
    base: Floats,
    count: int,
    *,
    probability: float,
    sigma: float,
    seed: int,
    first_variant: int = 0,
    first_index: int = 0,
) -> Floats:
    """Copy ``base``, float32 [n], with normal noise at random positions: float32 [count, n].

    Every position gets noise with ``probability``, 0 to 1. The noise is ``sigma`` times a standard
    normal deviate, which depends only on the seed, the variant ``first_variant + row`` and the
    position ``first_index + column``. Raises ValueError if the probability, sigma, the seed, a
    variant or a position is out of range.
    """
    n = base.size
    if not 0 <= probability <= 1:
        raise ValueError(f"probability is {probability}; it must lie in [0, 1]")
    if not abs(sigma) <= 2.0**120:
        raise ValueError(f"sigma is {sigma}; it must be finite and at most 2^120 in magnitude")
    if min(count, seed, first_variant, first_index) < 0:
        raise ValueError("count, seed, first_variant and first_index must not be negative")
    if max(seed + 1, first_variant + count, first_index + n) > 1 << 64:
        raise ValueError("seed, variants and positions must lie below 2^64")
    threshold = math.floor(probability * 2.0**31 + 0.5)
    first_block, skipped = divmod(first_index, 4)
    blocks = (skipped + n + 3) // 4
    result = np.tile(base, (count, 1))
    rows = max(1, _ELEMENTS_PER_SLICE // max(n, 1))
    for start in range(0, count, rows):
        part = result[start : start + rows]
        words = random_blocks(seed, first_variant + start, len(part), first_block, blocks)
        with np.errstate(all="ignore"):
            noise = noise_of_words(words, threshold, np.float32(sigma))
            part += noise.reshape(len(part), -1)[:, skipped : skipped + n]
    return result
