"""Sparse Gaussian noise on copies of a weight vector (docs/kernels.md, section 2)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float32]

_MASK = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ELEMENTS_PER_SLICE = 1 << 20

_LOG = np.array(
    [0x3F80001B, 0xBF00014A, 0x3EAA834B, 0xBE7EC8E4, 0x3E52FDFD, 0xBE418EDF, 0x3DF23ABB], np.uint32
).view(np.float32)
_QUANTILE = np.array(
    [
        *(0x4074D88C, 0x3FDC48E0, 0xBDBA944E, 0x3CAAB7F9, 0x3BEF250C, 0xBCC44D48),
        *(0x3C931711, 0x3A9D5606, 0xBBA7551F, 0x39C1631A, 0x39F0D1BA),
    ],
    np.uint32,
).view(np.float32)
_LN2 = np.array(0x3F317218, np.uint32).view(np.float32)[()]


def philox4x32(counter: tuple[Words, Words, Words, Words], key: tuple[int, int]) -> list[Words]:
    """Philox4x32-10 (Salmon et al. 2011) of 32-bit words in uint64 arrays; the four outputs."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        first = c0 * np.uint64(0xD2511F53)
        second = c2 * np.uint64(0xCD9E8D57)
        c0 = second >> _HALF ^ c1 ^ np.uint64(k0)
        c1 = second & _MASK
        c2 = first >> _HALF ^ c3 ^ np.uint64(k1)
        c3 = first & _MASK
        k0 = (k0 + 0x9E3779B9) & 0xFFFFFFFF
        k1 = (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [c0, c1, c2, c3]


def random_words(seed: int, first_variant: int, rows: int, first_index: int, n: int) -> Words:
    """The random word u of every (variant, position), uint64 [rows, n] with values below 2^32."""
    first_block, skipped = divmod(first_index, 4)
    blocks = np.uint64(first_block) + np.arange((skipped + n + 3) // 4, dtype=np.uint64)
    variants = (np.uint64(first_variant) + np.arange(rows, dtype=np.uint64))[:, None]
    counter = (blocks & _MASK, blocks >> _HALF, variants & _MASK, variants >> _HALF)
    outputs = philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32))
    return np.stack(outputs, axis=-1).reshape(rows, -1)[:, skipped : skipped + n]


def normal_deviates(words: Words, threshold: int) -> Floats:
    """The normal deviates y, float32, of words with ``word >> 1`` below the threshold."""
    one, two, half = np.float32(1), np.float32(2), np.float32(0.5)
    scale = np.float32(1 / np.float64(threshold))
    t = ((words >> np.uint64(1)).astype(np.float32) + half) * scale
    q = t * (two - t)
    bits = q.view(np.int32)
    exponent = (bits - np.int32(0x3F3504F3)) >> np.int32(23)
    x = (bits - (exponent << np.int32(23))).view(np.float32) - one
    log = np.broadcast_to(_LOG[-1], x.shape)
    for coefficient in _LOG[-2::-1]:
        log = log * x + coefficient
    w = -(exponent.astype(np.float32) * _LN2 + log * x)
    h = np.sqrt(np.where(w > 0, w, np.float32(0)) + np.float32(4)) - np.float32(3.5)
    p = np.broadcast_to(_QUANTILE[-1], h.shape)
    for coefficient in _QUANTILE[-2::-1]:
        p = p * h + coefficient
    y = p * (one - t)
    signed: Floats = np.where(words & np.uint64(1) != 0, -y, y)
    return signed


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
    """Copy ``base`` (float32 [n]) with normal noise at random positions; float32 [count, n].

    Every position is noisy with ``probability`` (0 to 1) and then gets ``sigma`` times a standard
    normal deviate that depends on the seed, the variant ``first_variant + row`` and the position
    ``first_index + column`` alone. Raises ValueError if the probability, the seed, a variant or a
    position is out of range.
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
    result = np.tile(base, (count, 1))
    rows = max(1, _ELEMENTS_PER_SLICE // max(n, 1))
    for start in range(0, count, rows):
        part = result[start : start + rows]
        words = random_words(seed, first_variant + start, len(part), first_index, n)
        noisy = words >> np.uint64(1) < np.uint64(threshold)
        with np.errstate(all="ignore"):
            part[noisy] += np.float32(sigma) * normal_deviates(words[noisy], threshold)
    return result
