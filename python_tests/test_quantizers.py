"""Quantizers: well-formed results, what they promise of the objective, and edge cases."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaecomp_native import kernels
from vaecomp_native.compression.operators import ELEMENTWISE as QUANTIZERS
from vaecomp_native.quantization.assignment import cheapest_codewords
from vaecomp_native.quantization.codebooks import flatten, nearest_codewords
from vaecomp_native.quantization.ecsq import (
    descend,
    entropy_constrained_lloyd,
    entropy_constrained_uniform,
)
from vaecomp_native.quantization.entropy import (
    distortion,
    entropy_bits,
    objective,
    table_bits,
    total_bits,
)
from vaecomp_native.quantization.kmeans import hessian_weighted_kmeans
from vaecomp_native.quantization.matrix import Float32Array, QuantizedMatrix, Quantizer, to_bfloat16
from vaecomp_native.quantization.uniform import round_to_step, uniform
from vaecomp_native.quantization.vbq import (
    cheapest_points,
    dyadic_quantiles,
    point_levels,
    quantize_latents,
    variational_bayesian_quantization,
)

from .samples import generators

quantizers = st.sampled_from(list(QUANTIZERS.values()))
rate_weights = st.one_of(st.just(0.0), st.floats(-14, 5).map(lambda power: 2.0**power))


@dataclass(frozen=True)
class Sample:
    values: Float32Array
    importance: npt.NDArray[np.float32]


def random_values(rng: np.random.Generator, kind: int, shape: tuple[int, int]) -> Any:
    normal = rng.standard_normal(shape)
    if kind == 0:
        return normal
    if kind == 1:  # mostly zeros
        return np.where(rng.random(shape) < 0.8, 0, normal)
    if kind == 2:
        return np.full(shape, normal[0, 0])
    if kind == 3:
        return np.zeros(shape)
    if kind == 4:  # numbers far from the others
        return np.where(rng.random(shape) < 0.1, 1e6 * normal, normal)
    if kind == 5:  # up to the ends of float32
        return np.clip(normal * 10.0 ** rng.uniform(-45, 39), -3.4e38, 3.4e38)
    return 0.05 * rng.laplace(size=shape)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """Values of many kinds, and importances of many kinds and of every shape that broadcasts."""
    rng = draw(generators)
    rows, columns = draw(st.tuples(st.integers(1, 30), st.integers(1, 30)))
    values = random_values(rng, draw(st.integers(0, 6)), (rows, columns)).astype(np.float32)
    shape = draw(st.sampled_from([(rows, columns), (columns,), (rows, 1), ()]))
    importance = 10 ** rng.uniform(-2, 2, shape)
    hidden = draw(st.sampled_from([0.0, 0.0, 0.3, 1.0]))
    importance = np.where(rng.random(shape) < hidden, 0, importance)
    return Sample(values, importance.astype(np.float32))


def spread_sample(seed: int, count: int = 40_000) -> Sample:
    """Values whose importances spread over three decades."""
    rng = np.random.default_rng(seed)
    values = rng.laplace(size=(count // 100, 100)).astype(np.float32)
    return Sample(values, (10 ** rng.uniform(-1.5, 1.5, values.shape)).astype(np.float32))


def is_bfloat16(values: npt.ArrayLike) -> bool:
    return np.array_equal(to_bfloat16(values), np.asarray(values, np.float32))


def at_most(cost: float, bound: float) -> bool:
    """Not larger, but for the rounding of sums."""
    return cost <= bound * (1 + 1e-9)


@given(sample=samples(), quantizer=quantizers, rate_weight=rate_weights)
def test_results_fit_the_format(sample: Sample, quantizer: Quantizer, rate_weight: float) -> None:
    matrix = quantizer(sample.values, sample.importance, rate_weight)
    assert matrix.symbols.dtype in (np.int8, np.int16)
    symbols = matrix.symbols.astype(np.int64)
    assert symbols.shape == sample.values.shape
    assert int(symbols.max()) - int(symbols.min()) < 4096
    assert is_bfloat16(matrix.step) and 2.0**-126 <= matrix.step < np.inf
    if matrix.codebook is not None:
        levels = matrix.codebook.values
        assert is_bfloat16(levels) and levels.dtype == np.float32
        assert (np.diff(levels) > 0).all() and levels.size <= 4096
        assert set(np.unique(symbols - matrix.codebook.first)) == set(range(levels.size))
    decoded = matrix.values()
    assert decoded.dtype == np.float32 and np.isfinite(decoded).all()


@given(sample=samples(), quantizer=quantizers, rate_weight=rate_weights)
def test_results_do_not_depend_on_the_form_of_importance(
    sample: Sample, quantizer: Quantizer, rate_weight: float
) -> None:
    full = np.broadcast_to(sample.importance, sample.values.shape).astype(np.float64)
    scalar = quantizer(sample.values, sample.importance, rate_weight)
    expanded = quantizer(sample.values, full, rate_weight)
    costs = [objective(matrix, sample.values, full, rate_weight) for matrix in (scalar, expanded)]
    assert costs[0] == pytest.approx(costs[1], rel=1e-3)


@given(sample=samples(), rate_weight=rate_weights)
def test_entropy_constraint_is_never_worse_than_uniform(sample: Sample, rate_weight: float) -> None:
    costs = [
        objective(
            quantizer(sample.values, sample.importance, rate_weight),
            sample.values,
            sample.importance,
            rate_weight,
        )
        for quantizer in (uniform, entropy_constrained_uniform, entropy_constrained_lloyd)
    ]
    assert at_most(costs[1], costs[0])
    assert at_most(costs[2], costs[1])


@pytest.mark.parametrize("rate_weight", [0.02, 0.3, 4.0])
def test_what_importance_is_worth(rate_weight: float) -> None:
    """Where importance varies, both methods that look at it value by value gain clearly."""
    sample = spread_sample(3)
    costs = {
        name: objective(
            quantizer(sample.values, sample.importance, rate_weight),
            sample.values,
            sample.importance,
            rate_weight,
        )
        for name, quantizer in QUANTIZERS.items()
    }
    assert costs["ecsq-lloyd"] < 0.97 * costs["uniform"]
    assert costs["ecsq-lloyd"] < costs["vbq"] < 1.01 * costs["uniform"]


@pytest.mark.parametrize("name", QUANTIZERS)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_larger_rate_weight_takes_fewer_bits(name: str, seed: int) -> None:
    sample = spread_sample(seed)
    matrices = [
        QUANTIZERS[name](sample.values, sample.importance, weight)
        for weight in 4.0 ** np.arange(-4, 5)
    ]
    bits = [total_bits(matrix) for matrix in matrices]
    errors = [distortion(matrix, sample.values, sample.importance) for matrix in matrices]
    assert bits == sorted(bits, reverse=True) and bits[-1] < bits[0] / 4
    assert errors == sorted(errors)


@given(sample=samples(), rate_weight=rate_weights)
def test_lloyd_never_increases_its_objective(sample: Sample, rate_weight: float) -> None:
    values, weights = flatten(sample.values, sample.importance)
    step = float(np.abs(values).max()) / 9 or 1.0
    found = [
        clustering.objective
        for clustering in descend(values, weights, round_to_step(values, step), rate_weight)
    ]
    assert all(at_most(after, before) for before, after in pairwise(found))


@given(rng=generators, clusters=st.integers(1, 40), scale=st.sampled_from([0.0, 0.01, 1.0, 100.0]))
def test_codewords_are_those_of_a_full_search(
    rng: np.random.Generator, clusters: int, scale: float
) -> None:
    values, weights = rng.standard_normal(200), 10 ** rng.uniform(-3, 1, 200)
    weights[:20] = 0
    codewords = np.sort(nearest_codewords(rng.standard_normal(clusters)))
    costs = scale * rng.exponential(size=clusters)
    table = weights[:, None] * (values[:, None] - codewords) ** 2 + costs
    chosen = cheapest_codewords(values, weights, codewords, costs)
    assert table[np.arange(200), chosen] == pytest.approx(table.min(1), rel=1e-12, abs=0)


@given(rng=generators, scale=st.sampled_from([0.0, 0.01, 1.0, 100.0]))
def test_points_are_those_of_a_full_search(rng: np.random.Generator, scale: float) -> None:
    values = np.where(rng.random(50) < 0.2, 0, rng.standard_normal(50))
    weights = np.where(rng.random(50) < 0.1, 0, 10 ** rng.uniform(-3, 3, 50))
    points = dyadic_quantiles(values)
    costs = scale * rng.exponential(size=12)  # in any order, as the second pass may have them
    table = weights[:, None] * (values[:, None] - points) ** 2 + costs[point_levels()]
    chosen = cheapest_points(values, weights, points, costs)
    assert table[np.arange(50), chosen] == pytest.approx(table.min(1), rel=1e-12, abs=0)


def test_points_are_dyadic_quantiles() -> None:
    values = np.random.default_rng(0).standard_normal(5000)
    points, levels = dyadic_quantiles(values), point_levels()
    for bits in range(12):
        shares = (np.arange(2**bits) + 0.5) / 2**bits
        expected = to_bfloat16(np.quantile(values, shares))
        assert np.array_equal(points[levels == bits], expected)


def test_a_wide_posterior_takes_fewer_bits() -> None:
    values = np.random.default_rng(5).standard_normal((100, 100)).astype(np.float32)
    wide = 10.0 ** np.arange(-2, 3)
    matrices = [
        variational_bayesian_quantization(values, np.float32(1 / deviation**2), 0.1)
        for deviation in wide
    ]
    bits = [total_bits(matrix) for matrix in matrices]
    assert bits == sorted(bits, reverse=True) and bits[-1] < 0.1 * bits[0]


def test_in_one_matrix_the_wide_posteriors_move() -> None:
    rng = np.random.default_rng(6)
    values = rng.standard_normal((200, 100)).astype(np.float32)
    importance = np.where(np.arange(100) < 50, 100, 0.1).astype(np.float32)
    errors = np.abs(variational_bayesian_quantization(values, importance, 0.1).values() - values)
    assert errors[:, :50].mean() < 0.2 * errors[:, 50:].mean()


def test_latents_have_a_prior_for_each_channel() -> None:
    rng = np.random.default_rng(7)
    scales = np.array([0.01, 1, 100], np.float32)
    means = rng.standard_normal((4000, 3)).astype(np.float32) * scales
    variances = np.broadcast_to((0.1 * scales) ** 2, means.shape)
    matrices = quantize_latents(means, variances, 0.1)
    assert [matrix.symbols.shape for matrix in matrices] == [(4000, 1)] * 3
    bits = [total_bits(matrix) / 4000 for matrix in matrices]
    assert bits == pytest.approx([bits[0]] * 3, rel=0.05)
    for matrix, mean, scale in zip(matrices, means.T, scales, strict=True):
        assert np.abs(matrix.values()[:, 0] - mean).mean() < 0.1 * scale


@given(sample=samples(), rate_weight=rate_weights)
def test_kmeans_takes_the_nearest_codeword(sample: Sample, rate_weight: float) -> None:
    matrix = hessian_weighted_kmeans(sample.values, sample.importance, rate_weight)
    assert matrix.codebook is not None
    values = sample.values.astype(np.float64)
    gaps = np.abs(values[..., None] - matrix.codebook.values)
    assert np.abs(values - matrix.values()) == pytest.approx(gaps.min(-1))


@pytest.mark.parametrize("quantizer", [entropy_constrained_uniform, entropy_constrained_lloyd])
def test_codewords_are_weighted_means(quantizer: Quantizer) -> None:
    sample = spread_sample(9)
    matrix = quantizer(sample.values, sample.importance, 1.0)
    assert matrix.codebook is not None
    for symbol, codeword in enumerate(matrix.codebook.values, matrix.codebook.first):
        members = matrix.symbols == symbol
        mean = np.average(sample.values[members], weights=sample.importance[members])
        assert codeword == pytest.approx(mean, rel=0.05, abs=0.03)


@pytest.mark.parametrize("name", QUANTIZERS)
class TestEdges:
    def matrix(self, name: str, values: npt.ArrayLike, weight: float = 1e-6) -> QuantizedMatrix:
        return QUANTIZERS[name](np.array(values, np.float32, ndmin=2), np.float32(1), weight)

    def test_zeros_take_no_bits(self, name: str) -> None:
        matrix = self.matrix(name, np.zeros((20, 30)))
        assert not matrix.values().any()
        assert np.unique(matrix.symbols).size == 1

    def test_a_constant_keeps_eight_bits_of_its_value(self, name: str) -> None:
        matrix = self.matrix(name, np.full((20, 30), 0.3))
        assert matrix.values() == pytest.approx(0.3, rel=2**-8)
        assert np.unique(matrix.symbols).size == 1

    @pytest.mark.parametrize("value", [1.0, -3.5, 1e-40, 3.4e38])
    def test_one_element(self, name: str, value: float) -> None:
        decoded = self.matrix(name, [[value]], 0.0).values()
        assert decoded == pytest.approx(value, rel=2**-7, abs=2**-126)

    def test_nothing_is_important(self, name: str) -> None:
        values = np.random.default_rng(0).standard_normal((9, 9)).astype(np.float32)
        matrix = QUANTIZERS[name](values, np.zeros(9, np.float32), 0.1)
        assert np.unique(matrix.symbols).size == 1

    def test_a_number_far_away_survives(self, name: str) -> None:
        values = np.random.default_rng(0).standard_normal((30, 30))
        values[3, 4] = 1e30
        matrix = self.matrix(name, values, 1e-3)
        assert matrix.values()[3, 4] == pytest.approx(1e30, rel=0.01)

    def test_without_a_price_of_bits_errors_are_small(self, name: str) -> None:
        values = np.random.default_rng(0).standard_normal((30, 30))
        assert np.abs(self.matrix(name, values, 0.0).values() - values).max() < 0.01


def test_entropy_by_hand() -> None:
    assert entropy_bits(np.array([2, 0, 1, 1])) == pytest.approx(2 * 1 + 2 + 2)
    assert entropy_bits(np.array([7])) == 0
    assert entropy_bits(np.array([], np.int64)) == table_bits(np.array([], np.int64)) == 0


@pytest.mark.parametrize("scale", [0.3, 3.0, 30.0])
def test_bits_are_those_of_a_coded_stream(scale: float) -> None:
    normal = np.random.default_rng(2).standard_normal((300, 200)) * scale
    matrix = QuantizedMatrix(np.rint(normal).astype(np.int32))
    stream = kernels.encode_symbols(matrix.symbols.ravel(), [matrix.symbols.size], lanes=1)
    assert total_bits(matrix) == pytest.approx(8 * len(stream), rel=0.005)


def test_bits_of_codebook_and_exponents_count() -> None:
    sample = spread_sample(1, 2000)
    matrix = hessian_weighted_kmeans(sample.values, sample.importance, 1.0)
    assert matrix.codebook is not None
    plain = QuantizedMatrix(matrix.symbols)
    assert total_bits(matrix) - total_bits(plain) >= 16 * matrix.codebook.values.size
    exponents = np.arange(matrix.symbols.shape[0], dtype=np.int8)
    scaled = QuantizedMatrix(matrix.symbols, row_exponents=exponents)
    assert total_bits(scaled) - total_bits(plain) >= exponents.size * np.log2(exponents.size)


def test_symbols_take_a_byte_where_they_fit() -> None:
    assert QuantizedMatrix(np.array([[-127, 127]], np.int32)).symbols.dtype == np.int8
    assert QuantizedMatrix(np.array([[0, 128]], np.int32)).symbols.dtype == np.int16
    with pytest.raises(ValueError, match="a symbol is 32768; symbols must fit 16 bits"):
        QuantizedMatrix(np.array([[0, 2**15]], np.int32))
