"""The integer decoder: the native kernel against the reference, and this against plain integers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaecomp_native import reference
from vaecomp_native.decoders import IntegerDecoder, IntegerLayer

from .samples import THREADS, generators

Layers = Sequence[tuple[npt.NDArray[Any], ...]]

SIZES = st.sampled_from([1, 2, 3, 7, 16, 17, 31, 64, 65, 130])
EXTREME = [-(2**31), -(2**31) + 1, -1, 0, 1, 2**31 - 2, 2**31 - 1]


def int8_values(rng: np.random.Generator, *shape: int) -> npt.NDArray[np.int8]:
    """Arbitrary numbers, or in half of all cases extreme ones only."""
    if rng.integers(2):
        return rng.choice(np.array([-128, -127, 127, 126, 0], np.int8), shape)
    return rng.integers(-128, 128, shape).astype(np.int8)


def int32_values(rng: np.random.Generator, size: int, low: int) -> npt.NDArray[np.int32]:
    """Small, arbitrary and extreme numbers from ``low`` to 2^31 - 1."""
    source = rng.integers(0, 3, size)
    extreme = rng.choice([x for x in EXTREME if x >= low], size)
    small, any_size = rng.integers(max(low, -1000), 1000, size), rng.integers(low, 2**31, size)
    return np.choose(source, [small, any_size, extreme]).astype(np.int32)


def random_layers(rng: np.random.Generator, sizes: list[int]) -> Layers:
    """Layers from sizes[0] inputs to sizes[-1] outputs whose numbers cover all that is allowed."""
    layers: list[tuple[npt.NDArray[Any], ...]] = []
    for number, (inputs, outputs) in enumerate(pairwise(sizes)):
        weight, bias = int8_values(rng, outputs, inputs), int32_values(rng, outputs, -(2**31))
        if number < len(sizes) - 2:
            shift = rng.choice([0, 1, 31, 38, 61, 62, int(rng.integers(63))], outputs)
            layers.append((weight, bias, int32_values(rng, outputs, 0), shift.astype(np.uint8)))
        else:
            scale = rng.choice([0, -0.0, 1e-3, -2.5, 1e-45, 3e-39, 3e38, 1.1754944e-38], outputs)
            layers.append((weight, bias, scale.astype(np.float32)))
    return layers


def native(layers: Layers) -> IntegerDecoder:
    """The layers as the library's decoder."""
    *hidden, (weight, bias, scale) = layers
    last = IntegerLayer(weight, bias, scale=scale)
    return IntegerDecoder((*(IntegerLayer(*layer) for layer in hidden), last))


def by_plain_integers(layers: Layers, latents: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
    """docs/kernels.md, section 3, with Python's integers."""
    rows = []
    for x in latents.tolist():
        for layer in layers:
            weight, bias, *parameters = (part.tolist() for part in layer)
            acc = [
                (b + sum(w * v for w, v in zip(row, x, strict=True)) + 2**31) % 2**32 - 2**31
                for row, b in zip(weight, bias, strict=True)
            ]
            if len(parameters) == 2:
                x = [
                    min(max((a * m + (1 << s >> 1)) >> s, 0), 127)
                    for a, m, s in zip(acc, *parameters, strict=True)
                ]
        with np.errstate(all="ignore"):
            rows.append(np.array(acc, np.float32) * layers[-1][2])
    return np.array(rows, np.float32)


@given(
    rng=generators,
    sizes=st.lists(SIZES, min_size=2, max_size=5),
    count=st.sampled_from([0, 1, 2, 5, 33, 100]),
    threads=st.sampled_from(THREADS),
)
def test_native_equals_reference(
    isa: str, rng: np.random.Generator, sizes: list[int], count: int, threads: int
) -> None:
    layers = random_layers(rng, sizes)
    latents = int8_values(rng, count, sizes[0])
    outputs = native(layers).forward(latents, threads=threads)
    assert outputs.dtype == np.float32
    assert outputs.shape == (count, sizes[-1])
    assert outputs.tobytes() == reference.decoder_i8(layers, latents).tobytes()


@given(rng=generators, sizes=st.lists(st.sampled_from([1, 3, 7]), min_size=2, max_size=4))
def test_reference_equals_plain_integers(rng: np.random.Generator, sizes: list[int]) -> None:
    layers = random_layers(rng, sizes)
    latents = int8_values(rng, 3, sizes[0])
    expected = by_plain_integers(layers, latents)
    assert reference.decoder_i8(layers, latents).tobytes() == expected.tobytes()


def test_accumulators_wrap_around(isa: str) -> None:
    weight = np.array([[127], [-128]], np.int8)
    bias = np.array([2**31 - 1, -(2**31)], np.int32)
    layers = [(weight, bias, np.ones(2, np.float32))]
    outputs = native(layers).forward(np.array([[1], [-1]], np.int8))
    wrapped = [[-(2**31) + 126, 2**31 - 128], [2**31 - 128, -(2**31) + 128]]
    assert outputs.tolist() == np.array(wrapped, np.float32).tolist()


@pytest.mark.parametrize("value", [-128, 127])
def test_long_sums_of_extreme_products_do_not_saturate(isa: str, value: int) -> None:
    weight = np.full((17, 2050), value, np.int8)
    layers = [(weight, np.zeros(17, np.int32), np.ones(17, np.float32))]
    outputs = native(layers).forward(np.full((3, 2050), -128, np.int8))
    assert outputs.tolist() == [[float(2050 * value * -128)] * 17] * 3


@pytest.mark.parametrize("multiplier", [0, 1, 2**31 - 1])
@pytest.mark.parametrize("shift", [0, 1, 30, 31, 32, 61, 62])
def test_extreme_multipliers_and_shifts(isa: str, multiplier: int, shift: int) -> None:
    accumulators = np.array([*EXTREME, 63, 64, 2**30, -(2**30), 127, 128], np.int32)
    size = accumulators.size
    hidden = (
        np.zeros((size, 1), np.int8),
        accumulators,
        np.full(size, multiplier, np.int32),
        np.full(size, shift, np.uint8),
    )
    last = (np.eye(size, dtype=np.int8), np.zeros(size, np.int32), np.ones(size, np.float32))
    outputs = native([hidden, last]).forward(np.zeros((1, 1), np.int8))
    expected = [
        min(max((a * multiplier + (1 << shift >> 1)) >> shift, 0), 127)
        for a in accumulators.tolist()
    ]
    assert outputs[0].tolist() == expected


def test_accumulators_are_rounded_to_nearest_even_floats(isa: str) -> None:
    bias = np.array([2**24 + 1, 2**24 + 3, -(2**24) - 1, 2**30 + 64, 2**30 + 192], np.int32)
    layers = [(np.zeros((5, 1), np.int8), bias, np.ones(5, np.float32))]
    outputs = native(layers).forward(np.zeros((1, 1), np.int8))
    assert outputs[0].tolist() == [2**24, 2**24 + 4, -(2**24), 2**30, 2**30 + 256]


def test_outputs_go_to_the_given_array(isa: str) -> None:
    rng = np.random.default_rng(5)
    decoder = native(random_layers(rng, [7, 3, 9]))
    latents = int8_values(rng, 4, 7)
    out = np.full((4, 9), np.nan, np.float32)
    assert np.shares_memory(decoder.forward(latents, out=out), out)
    assert out.tobytes() == decoder.forward(latents).tobytes()
    with pytest.raises(ValueError, match="out must have shape"):
        decoder.forward(latents, out=out[:, :8].copy())


def test_unusable_layers_are_refused() -> None:
    weight, bias = np.ones((2, 3), np.int8), np.zeros(2, np.int32)
    scale, multiplier, shift = np.ones(2, np.float32), np.ones(2, np.int32), np.ones(2, np.uint8)
    last = IntegerLayer(weight, bias, scale=scale)
    following = IntegerLayer(np.ones((1, 2), np.int8), bias[:1], scale=scale[:1])
    latents = np.zeros((4, 3), np.int8)
    assert IntegerDecoder((last,)).forward(latents).shape == (4, 2)
    for layers in (
        (),
        (IntegerLayer(weight, bias[:1], scale=scale),),
        (IntegerLayer(weight, bias, scale=scale[:1]),),
        (IntegerLayer(weight, bias, multiplier, shift),),
        (IntegerLayer(weight, bias, multiplier - 2, shift), following),
        (IntegerLayer(weight, bias, multiplier, shift + np.uint8(62)), following),
        (IntegerLayer(weight, bias, multiplier[:1], shift), following),
        (IntegerLayer(weight, bias, multiplier, shift), last),
        (last, following),
    ):
        with pytest.raises(ValueError, match="layer"):
            IntegerDecoder(layers).forward(latents)
    with pytest.raises(ValueError, match="latents"):
        IntegerDecoder((last,)).forward(latents[:, :2])
