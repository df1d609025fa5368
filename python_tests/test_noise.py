"""noise_variants: the native kernel against the reference, and the noise's statistics."""

from __future__ import annotations

import itertools
import math
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaecomp_native import kernels, reference
from vaecomp_native.reference import noise as recipe

from .samples import THREADS, float_values, generators

Floats = npt.NDArray[np.float32]

PROBABILITIES = st.one_of(
    st.sampled_from([0.0, 1.0, 2.0**-32, 2.0**-31, 1e-9, 1e-3, 0.05, 0.5, 1 - 2.0**-31]),
    st.floats(0, 1),
)
SIGMAS = st.one_of(
    st.sampled_from([0.0, 1.0, -2.0, 1e-3, 1e-40, 2.0**120, 1e-300]), st.floats(0, 10)
)


def below_2_64(room: int) -> st.SearchStrategy[int]:
    """Integers at most 2^64 - room, often where a 32-bit half of the counter carries or ends."""
    borders = [0, 1, 2, 3, 2**32 - 2, 2**32, 2**34 - 3, 2**34 - 1, 2**63, 2**64 - room]
    return st.one_of(st.sampled_from(borders), st.integers(0, 2**64 - room))


PI_DIGITS = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((0,) * 6, (0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48)),
        ((2**32 - 1,) * 6, (0x5207DDC2, 0x45165E59, 0x4D8EE751, 0x8C52F662)),
        (PI_DIGITS, (0x4DFCCABA, 0x190A87F0, 0xC47362BA, 0xB6B5242A)),
    ],
)
def test_philox_gives_the_published_answers(
    words: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    """Those of Random123's kat_vectors for philox4x32 with 7 rounds: counter, key, output."""
    c0, c1, c2, c3 = (np.array([word], np.uint64) for word in words[:4])
    output = recipe.philox4x32((c0, c1, c2, c3), (words[4], words[5]))
    assert tuple(int(word[0]) for word in output) == expected


def thresholds() -> list[int]:
    """Powers of two and what lies beside them, and numbers of all magnitudes."""
    powers = [2**i + d for i in range(32) for d in (-1, 0, 1)]
    drawn = np.exp(np.random.default_rng(1).uniform(0, math.log(2**31), 3000)).astype(int)
    return sorted({t for t in [*powers, *drawn.tolist()] if 0 <= t <= 2**31})


def test_uniform_numbers_stay_within_0_and_1() -> None:
    """For radii above 1 would be fatal: the logarithm of such a number has no root."""
    for threshold in thresholds():
        ends = [0, 1, threshold - 2, threshold - 1, threshold, threshold + 1, 2**31 - 2, 2**31 - 1]
        words = np.array([k for k in ends if 0 <= k < 2**31])
        chosen, t = recipe.uniform_numbers(words, threshold)
        assert (chosen == (words < threshold)).all()
        assert (t > 0).all() and (t <= 1).all()
        assert np.isfinite(recipe.radii(t)).all()


def test_uniform_numbers_are_spread_evenly_among_the_chosen_and_the_others() -> None:
    for threshold in (1, 7, 1000, 2**31 - 1000, 2**31 - 7):
        for first, count in ((0, threshold), (threshold, 2**31 - threshold)):
            k = first + np.unique(np.linspace(0, count - 1, 1001).astype(np.int64))
            _, t = recipe.uniform_numbers(k, threshold)
            np.testing.assert_allclose(t, (k - first + 0.5) / count, rtol=4e-7)


def dense_uniform_numbers() -> Floats:
    """Float32 numbers in (0, 1): of each magnitude, and next to both ends and the middle."""
    steps = np.arange(1, 1 << 17)
    return np.concatenate(
        [
            np.geomspace(2.0**-32, 1, 1 << 20, endpoint=False),
            np.linspace(0, 1, 1 << 20, endpoint=False)[1:],
            1 - steps * 2.0**-24,
            0.5 + steps * 2.0**-24,
            steps * 2.0**-32,
        ]
    ).astype(np.float32)


def test_radii_are_accurate() -> None:
    t = dense_uniform_numbers()
    t = t[t < 1]
    exact = np.sqrt(-2 * np.log(t.astype(np.float64)))
    assert np.abs(recipe.radii(t) / exact - 1).max() < 3.9e-6
    assert recipe.radii(np.ones(1, np.float32))[0] == 0


def test_directions_are_accurate() -> None:
    t = np.append(dense_uniform_numbers(), np.float32(1))
    angle = math.pi / 2 * t.astype(np.float64)
    cosine, sine = recipe.cosines_and_sines(t)
    assert np.abs(cosine - np.cos(angle)).max() < 1.7e-7
    assert np.abs(sine - np.sin(angle)).max() < 1.7e-7
    assert cosine.min() >= 0 and sine.min() >= 0


@pytest.mark.parametrize("probability", [1.0, 0.3, 0.05])
def test_deviates_are_those_of_box_and_muller(probability: float) -> None:
    """In float64, from the same words: so many that all magnitudes occur."""
    threshold = math.floor(probability * 2**31 + 0.5)
    words = recipe.random_blocks(11, 3, 1, 0, 100_000)
    k = words & 0x7FFFFFFF
    chosen = k < threshold
    t = np.where(chosen, k + 0.5, k - threshold + 0.5) / np.where(
        chosen, threshold, max(2**31 - threshold, 1)
    )
    radius, angle = np.sqrt(-2 * np.log(t[..., 0::2])), math.pi / 2 * t[..., 1::2]
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    exact = np.where(words >> 31 == 0, 1.0, -1.0) * pairs.reshape(words.shape)
    found = kernels.noise_variants(
        np.zeros(words.size, np.float32),
        1,
        probability=probability,
        sigma=1.0,
        seed=11,
        first_variant=3,
    ).reshape(words.shape)
    assert (found[~chosen] == 0).all()
    error = np.abs(found - exact)[chosen]
    magnitude = np.abs(exact)[chosen]
    assert (error / magnitude)[magnitude > 0.1].max() < 1.2e-5
    assert error[magnitude <= 0.1].max() < 3e-4


@given(
    rng=generators,
    n=st.one_of(st.integers(0, 70), st.sampled_from([255, 256, 257, 5000])),
    count=st.integers(0, 5),
    probability=PROBABILITIES,
    sigma=SIGMAS,
    seed=below_2_64(1),
    first_variant=below_2_64(5),
    first_index=below_2_64(5000),
    threads=st.sampled_from(THREADS),
)
def test_native_equals_reference(
    isa: str,
    rng: np.random.Generator,
    n: int,
    count: int,
    probability: float,
    sigma: float,
    seed: int,
    first_variant: int,
    first_index: int,
    threads: int,
) -> None:
    base = float_values(rng, np.dtype(np.float32), n)
    noise: dict[str, Any] = {"probability": probability, "sigma": sigma, "seed": seed}
    first = {"first_variant": first_variant, "first_index": first_index}
    variants = kernels.noise_variants(base, count, **noise, **first, threads=threads)
    assert variants.dtype == np.float32
    assert variants.shape == (count, n)
    assert variants.tobytes() == reference.noise_variants(base, count, **noise, **first).tobytes()
    out = np.empty_like(variants)
    given = kernels.noise_variants(base, count, **noise, **first, out=out, threads=threads)
    assert given is out and out.tobytes() == variants.tobytes()


def test_many_variants_equal_the_reference(isa: str) -> None:
    base = np.random.default_rng(0).standard_normal(70_011).astype(np.float32)
    noise: dict[str, Any] = {"probability": 0.3, "sigma": 0.01, "seed": 0x0123456789ABCDEF}
    first = {"first_variant": 2**32 - 2, "first_index": 2**34 - 40_001}
    expected = reference.noise_variants(base, 5, **noise, **first).tobytes()
    for threads in THREADS:
        variants = kernels.noise_variants(base, 5, **noise, **first, threads=threads)
        assert variants.tobytes() == expected


@pytest.mark.parametrize("module", [kernels, reference])
def test_slices_equal_the_whole(module: ModuleType) -> None:
    base = np.linspace(-1, 1, 101, dtype=np.float32)

    def slice_of(row: int, column: int) -> Floats:
        noise = {"probability": 0.6, "sigma": 0.5, "seed": 42}
        first = {"first_variant": 2**32 - 4 + row, "first_index": 2**34 - 50 + column}
        variants: Floats = module.noise_variants(base[column:], 9 - row, **noise, **first)
        return variants

    whole = slice_of(0, 0)
    for row, column in ((0, 1), (3, 2), (5, 50), (8, 99)):
        assert slice_of(row, column).tobytes() == whole[row:, column:].tobytes()


@pytest.mark.parametrize(
    "bits",
    [
        *(0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x807FFFFF, 0x7F7FFFFF, 0xFF7FFFFF),
        *(0x7F800000, 0xFF800000, 0x7FE00001),  # infinities, a quiet NaN with a payload
    ],
)
@pytest.mark.parametrize("sigma", [1.0, -1.0, 0.0])
def test_positions_without_noise_keep_their_bits(isa: str, bits: int, sigma: float) -> None:
    base = np.full(4000, bits, np.uint32).view(np.float32)
    variants = kernels.noise_variants(base, 2, probability=0.25, sigma=sigma, seed=3)
    noisy = kernels.noise_variants(np.zeros_like(base), 2, probability=0.25, sigma=1.0, seed=3) != 0
    assert 0.2 < noisy.mean() < 0.3
    assert (variants.view(np.uint32)[~noisy] == bits).all()


def deviates(count: int, n: int, seed: int = 1, **first: int) -> npt.NDArray[np.float64]:
    """Standard normal deviates at every position, [count, n]."""
    zeros = np.zeros(n, np.float32)
    return kernels.noise_variants(
        zeros, count, probability=1.0, sigma=1.0, seed=seed, **first
    ).astype(np.float64)


def kolmogorov_distance(sample: npt.NDArray[np.float64]) -> float:
    """The largest distance from the standard normal distribution function, times sqrt(n)."""
    ordered = np.sort(sample.reshape(-1))
    n = ordered.size
    normal = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in ordered])
    steps = np.arange(n + 1) / n
    return float(max((steps[1:] - normal).max(), (normal - steps[:-1]).max()) * math.sqrt(n))


def assert_normal(y: npt.NDArray[np.float64]) -> None:
    """By Kolmogorov's distance and the first four moments."""
    assert kolmogorov_distance(y) < 1.63  # the 1 % point of Kolmogorov's distribution
    error = 4 / math.sqrt(y.size)
    assert abs(y.mean()) < error
    assert abs((y**2).mean() - 1) < error * math.sqrt(2)
    assert abs((y**3).mean()) < error * math.sqrt(15)
    assert abs((y**4).mean() - 3) < error * math.sqrt(96)


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_distribution_is_normal(seed: int) -> None:
    assert_normal(deviates(20, 5000, seed))


@pytest.mark.parametrize("probability", [0.02, 0.05, 0.5])
def test_distribution_of_sparse_noise_is_normal_too(probability: float) -> None:
    noise = sparse_noise(probability, 0.25) / 0.25
    chosen = noise[noise != 0]
    expected = probability * noise.size
    assert abs(chosen.size - expected) < 4 * math.sqrt(expected)
    assert_normal(chosen)


def sparse_noise(probability: float, sigma: float = 1.0) -> npt.NDArray[np.float64]:
    """On 20 variants of zeros, [20, 100000]."""
    zeros = np.zeros(100_000, np.float32)
    return kernels.noise_variants(zeros, 20, probability=probability, sigma=sigma, seed=7).astype(
        np.float64
    )


@pytest.mark.parametrize("word", range(4))
@pytest.mark.parametrize("probability", [0.05, 1.0])
def test_every_word_of_a_block_makes_normal_noise(probability: float, word: int) -> None:
    noise = sparse_noise(probability)[: 20 if probability < 1 else 2, word::4]
    assert_normal(noise[noise != 0])


def test_the_numbers_of_a_block_are_independent() -> None:
    y = deviates(20, 100_000).reshape(-1, 4)
    limit = 4 / math.sqrt(len(y))
    for a, b in itertools.combinations(y.T, 2):
        assert abs((a * b).mean()) < limit
        assert abs(((a**2 - 1) * (b**2 - 1)).mean()) < 2 * limit
        mean = math.sqrt(2 / math.pi)
        assert abs(((abs(a) - mean) * (abs(b) - mean)).mean()) < (1 - mean**2) * limit
        assert abs(((a > 0) == (b > 0)).mean() - 0.5) < limit / 2


def test_a_number_does_not_know_how_large_its_neighbour_is() -> None:
    first, second = deviates(20, 100_000).reshape(-1, 2).T
    for y, neighbour in ((first, second), (second, first)):
        for near in (abs(neighbour) < 0.1, abs(neighbour) > 2):
            assert_normal(y[near])


def test_noise_does_not_depend_on_whether_its_neighbour_is_noisy() -> None:
    noise = sparse_noise(0.2).reshape(-1, 2)
    noisy = noise != 0
    expected = 0.2 * 0.2 * len(noise)
    assert abs(noisy.all(axis=1).sum() - expected) < 4 * math.sqrt(expected)
    for member in (0, 1):
        y, here, there = noise[:, member], noisy[:, member], noisy[:, 1 - member]
        for chosen in (here & there, here & ~there):
            assert_normal(y[chosen])


def test_radii_of_pairs_follow_their_law() -> None:
    """A pair of squares adds up to twice an exponential number, which the tail of radii shows."""
    squares = (deviates(20, 100_000).reshape(-1, 2) ** 2).sum(axis=1)
    for least in (0.01, 0.5, 2.0, 8.0, 16.0):
        expected = math.exp(-least / 2) * squares.size
        deviation = math.sqrt(expected * (1 - math.exp(-least / 2)))
        assert abs((squares > least).sum() - expected) < 4 * deviation


def test_deviates_reach_far_into_both_tails() -> None:
    y = deviates(200, 10_000)
    for least in (2, 3, 4):
        tail = 0.5 * math.erfc(least / math.sqrt(2)) * y.size
        assert abs((y > least).sum() - tail) < 4 * math.sqrt(tail)
        assert abs((y < -least).sum() - tail) < 4 * math.sqrt(tail)
    assert y.min() < -4.5
    assert y.max() > 4.5


@pytest.mark.parametrize(
    ("seed", "first"),
    [
        (1, {"first_variant": 10}),
        (1, {"first_variant": 1}),
        (1, {"first_variant": 2**32}),
        (1, {"first_index": 1}),
        (1, {"first_index": 2**34}),
        (2, {}),
        (1 + 2**32, {}),
    ],
)
def test_streams_are_independent(seed: int, first: dict[str, int]) -> None:
    y, other = deviates(10, 5000, 1), deviates(10, 5000, seed, **first)
    limit = 4 / math.sqrt(y.size)
    assert abs((y * other).mean()) < limit
    assert abs(((y**2 - 1) * (other**2 - 1)).mean()) < 2 * limit
    assert abs(((y > 0) == (other > 0)).mean() - 0.5) < limit / 2


def test_chosen_positions_are_independent_between_variants() -> None:
    noisy = (
        kernels.noise_variants(np.zeros(100_000, np.float32), 2, probability=0.1, sigma=1.0, seed=5)
        != 0
    )
    both = (noisy[0] & noisy[1]).sum()
    assert abs(both - 1000) < 4 * math.sqrt(1000)


def test_unusable_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"out must have shape \[2, 3\]"):
        kernels.noise_variants(
            np.zeros(3, np.float32),
            2,
            probability=0.5,
            sigma=1.0,
            seed=0,
            out=np.zeros((3, 2), np.float32),
        )
    base = np.zeros(4, np.float32)
    for probability in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="probability"):
            kernels.noise_variants(base, 1, probability=probability, sigma=1.0, seed=0)
    for sigma in (math.inf, math.nan, 2.0**121):
        with pytest.raises(ValueError, match="sigma"):
            kernels.noise_variants(base, 1, probability=0.5, sigma=sigma, seed=0)
    with pytest.raises(ValueError, match="variant"):
        kernels.noise_variants(base, 2, probability=0.5, sigma=1.0, seed=0, first_variant=2**64 - 1)
    with pytest.raises(ValueError, match="index"):
        kernels.noise_variants(base, 2, probability=0.5, sigma=1.0, seed=0, first_index=2**64 - 3)
