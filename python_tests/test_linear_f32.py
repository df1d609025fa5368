"""The float32 decoder: native against reference, and the reference's fma against fractions."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vaecomp_native import reference
from vaecomp_native.decoders import Float32Decoder, Float32Layer

from .samples import THREADS, float_values, generators

Floats = npt.NDArray[np.float32]
Layers = list[tuple[Floats, Floats]]

FLOAT32 = np.dtype(np.float32)
SIZES = st.sampled_from([1, 2, 3, 7, 16, 17, 31, 64, 65])
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def parameters(rng: np.random.Generator, *shape: int) -> Floats:
    """Finite numbers: subnormals and extremes among normal deviates, or normal deviates only."""
    size = math.prod(shape)
    values = rng.standard_normal(size).astype(np.float32)
    if rng.integers(2):
        special = float_values(rng, FLOAT32, size)
        values = np.where(np.isfinite(special), special, values)
    return values.reshape(shape)


def random_layers(rng: np.random.Generator, sizes: list[int]) -> Layers:
    """Layers from sizes[0] inputs to sizes[-1] outputs."""
    return [
        (parameters(rng, outputs, inputs), parameters(rng, outputs))
        for inputs, outputs in pairwise(sizes)
    ]


def native(layers: Layers) -> Float32Decoder:
    """The layers as the library's decoder."""
    return Float32Decoder(tuple(Float32Layer(*layer) for layer in layers))


def rounded_to_float32(exact: Fraction) -> float:
    """The float32 number nearest to a fraction other than 0, ties to even; or infinity."""
    magnitude = abs(exact)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if Fraction(2) ** exponent > magnitude:
        exponent -= 1
    step = Fraction(2) ** (max(exponent, -126) - 23)
    nearest = round(magnitude / step) * step  # round() of a fraction takes ties to even
    limit = float(nearest) if nearest < Fraction(2) ** 128 else math.inf
    return math.copysign(limit, exact)


@example(a=1 + 2.0**-23, b=1 - 2.0**-23, c=-1.0)
@example(a=1 + 2.0**-12, b=1 + 2.0**-12, c=2.0**-60)
@example(a=1 + 2.0**-12, b=1 + 2.0**-12, c=-(2.0**-60))
@example(a=2.0**-100, b=2.0**-49, c=2.0**-140)
@example(a=-(2.0**-100), b=2.0**-50, c=1.0)
@example(a=2.0**127, b=2.0, c=-(2.0**127))
@given(a=FINITE, b=FINITE, c=FINITE)
def test_reference_fma_equals_exact_fractions(a: float, b: float, c: float) -> None:
    result = float(reference.fma(*(np.array([x], np.float32) for x in (a, b, c)))[0])
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    assert result == (rounded_to_float32(exact) if exact else 0.0)


@given(rng=generators)
def test_reference_fma_where_terms_cancel(rng: np.random.Generator) -> None:
    a, b = (rng.standard_normal(50).astype(np.float32) for _ in range(2))
    near = -(a * b).view(np.int32) + rng.integers(-2, 3, 50)
    c = near.astype(np.int32).view(np.float32)
    c = np.where(np.isfinite(c), c, np.float32(1))
    results = reference.fma(a, b, c)
    for x, y, z, result in zip(a.tolist(), b.tolist(), c.tolist(), results.tolist(), strict=True):
        exact = Fraction(x) * Fraction(y) + Fraction(z)
        assert result == (rounded_to_float32(exact) if exact else 0.0)


@given(
    rng=generators,
    sizes=st.lists(SIZES, min_size=2, max_size=4),
    count=st.sampled_from([0, 1, 2, 5, 33, 100]),
    threads=st.sampled_from(THREADS),
)
def test_native_equals_reference(
    isa: str, rng: np.random.Generator, sizes: list[int], count: int, threads: int
) -> None:
    layers = random_layers(rng, sizes)
    latents = parameters(rng, count, sizes[0])
    outputs = native(layers).forward(latents, threads=threads)
    assert outputs.dtype == np.float32
    assert outputs.shape == (count, sizes[-1])
    assert outputs.tobytes() == reference.decoder_f32(layers, latents).tobytes()


@given(rng=generators, sizes=st.lists(SIZES, min_size=2, max_size=4))
def test_latents_with_infinities_and_nans(
    isa: str, rng: np.random.Generator, sizes: list[int]
) -> None:
    layers = random_layers(rng, sizes)
    latents = float_values(rng, FLOAT32, 5 * sizes[0]).reshape(5, sizes[0])
    outputs = native(layers).forward(latents)
    assert outputs.tobytes() == reference.decoder_f32(layers, latents).tobytes()


def test_each_product_is_added_with_one_rounding(isa: str) -> None:
    factor = np.array([[1 + 2**-12]], np.float32)
    layers = [(factor, np.array([-(1 + 2**-11)], np.float32))]
    outputs = native(layers).forward(factor)
    assert outputs.tolist() == [[2.0**-24]]


def test_products_are_added_in_ascending_order(isa: str) -> None:
    layers = [(np.ones((3, 3), np.float32), np.zeros(3, np.float32))]
    latents = np.array([[1, 2**30, -(2**30)], [2**30, -(2**30), 1]], np.float32)
    outputs = native(layers).forward(latents)
    assert outputs.tolist() == [[0.0] * 3, [1.0] * 3]


def test_relu_maps_nan_and_negative_zero_to_zero(isa: str) -> None:
    identity = np.eye(4, dtype=np.float32)
    bias = np.full(4, -0.0, np.float32)
    latents = np.array([[np.inf, 0, 0, 0], [-1, -0.0, 2, 1e-45]], np.float32)
    hidden, last = (identity, bias), (np.diag([1, 1, 1, -1]).astype(np.float32), bias)
    outputs = native([hidden, last]).forward(latents)
    assert outputs.tobytes() == reference.decoder_f32([hidden, last], latents).tobytes()
    single = native([last]).forward(latents)
    assert single.view(np.uint32)[0, 1] == 0x7FC00000


def test_outputs_go_to_the_given_array(isa: str) -> None:
    rng = np.random.default_rng(5)
    decoder = native(random_layers(rng, [7, 3, 9]))
    latents = rng.standard_normal((4, 7)).astype(np.float32)
    out = np.full((4, 9), np.nan, np.float32)
    assert np.shares_memory(decoder.forward(latents, out=out), out)
    assert out.tobytes() == decoder.forward(latents).tobytes()
    with pytest.raises(ValueError, match="out must have shape"):
        decoder.forward(latents, out=out[:, :8].copy())


def test_unusable_layers_are_refused() -> None:
    weight, bias = np.ones((2, 3), np.float32), np.zeros(2, np.float32)
    latents = np.zeros((4, 3), np.float32)
    for layers in ([], [(weight, bias[:1])], [(weight, bias), (weight, bias)]):
        with pytest.raises(ValueError, match="layer"):
            native(layers).forward(latents)
    with pytest.raises(ValueError, match="latents"):
        native([(weight, bias)]).forward(latents[:, :2])
