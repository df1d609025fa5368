"""noise_variants: the native kernel against the reference, and the noise's statistics."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaecomp_native import kernels, reference

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


def test_positions_without_noise_keep_their_bits(isa: str) -> None:
    base = np.full(4000, 0x7FA00001, np.uint32).view(np.float32)
    variants = kernels.noise_variants(base, 2, probability=0.25, sigma=1.0, seed=3)
    noisy = kernels.noise_variants(np.zeros_like(base), 2, probability=0.25, sigma=1.0, seed=3) != 0
    assert 0.2 < noisy.mean() < 0.3
    assert (variants.view(np.uint32)[~noisy] == 0x7FA00001).all()


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


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_distribution_is_normal(seed: int) -> None:
    y = deviates(20, 5000, seed)
    assert kolmogorov_distance(y) < 1.63  # the 1 % point of Kolmogorov's distribution
    error = 4 / math.sqrt(y.size)
    assert abs(y.mean()) < error
    assert abs((y**2).mean() - 1) < error * math.sqrt(2)
    assert abs((y**3).mean()) < error * math.sqrt(15)
    assert abs((y**4).mean() - 3) < error * math.sqrt(96)


def test_distribution_of_sparse_noise_is_normal_too() -> None:
    noise = (
        kernels.noise_variants(
            np.zeros(100_000, np.float32), 20, probability=0.02, sigma=0.25, seed=7
        )
        / 0.25
    )
    chosen = noise[noise != 0].astype(np.float64)
    expected = 0.02 * noise.size
    assert abs(chosen.size - expected) < 4 * math.sqrt(expected)
    assert kolmogorov_distance(chosen) < 1.63


def test_deviates_reach_far_into_both_tails() -> None:
    y = deviates(200, 10_000)
    tail = 2 * 0.5 * math.erfc(4 / math.sqrt(2)) * y.size
    assert abs((np.abs(y) > 4).sum() - tail) < 4 * math.sqrt(tail)
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
