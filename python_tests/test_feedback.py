"""Quantization with error feedback: the native kernel against the reference, and its promises."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vaecomp_native as vc
from vaecomp_native import _core, kernels, reference
from vaecomp_native.codecs.quantized import encode_matrices
from vaecomp_native.quantization import feedback as feedback_module
from vaecomp_native.quantization.entropy import total_bits
from vaecomp_native.quantization.feedback import (
    Curvature,
    OutOfRangeError,
    QuantizedOperator,
    feedback_quantize,
    guessed_bits,
    smoothed_bits,
)
from vaecomp_native.quantization.matrix import (
    LARGEST_SYMBOL,
    Float32Array,
    QuantizedMatrix,
    to_bfloat16,
)

from .samples import generators

Float64Array = npt.NDArray[np.float64]

sizes = st.tuples(st.integers(0, 20), st.integers(0, 20))


def random_moment(
    rng: np.random.Generator, size: int, *, bias: bool = False, decades: float = 1.0
) -> Float64Array:
    """Return a second moment [size, size] of correlated inputs whose scales span `decades`.

    With `bias` the last input is 1.
    """
    mixed = rng.standard_normal((4 * size, 3)) @ rng.standard_normal((3, size))
    inputs = (mixed + rng.standard_normal(mixed.shape)) * 10 ** rng.uniform(0, decades, size)
    if bias:
        inputs += inputs.std(0)
        inputs[:, -1] = 1
    return np.asarray(inputs.T @ inputs / len(inputs))


def random_weights(rng: np.random.Generator, rows: int, columns: int) -> Float32Array:
    return rng.standard_normal((rows, columns)).astype(np.float32)


def cost(error: npt.NDArray[Any], moment: Float64Array, rows: npt.NDArray[Any]) -> float:
    """The quadratic that is to be small: sum of rows[i] * error[i] moment error[i]."""
    wide = error.astype(np.float64)
    return float(rows @ ((wide @ moment) * wide).sum(1))


def bits_of(operator: QuantizedOperator) -> float:
    return sum(total_bits(one) for one in (operator.weights, operator.bias) if one is not None)


def kernel_arguments(
    rng: np.random.Generator, rows: int, columns: int, *, independent: bool, tables: int
) -> dict[str, Any]:
    limit = int(rng.integers(0, 40))
    share = np.triu(rng.standard_normal((columns, columns)) * 0.4, 1)
    spread = rng.choice([0.1, 3.0, 100.0])
    return {
        "values": (spread * random_weights(rng, rows, columns)).astype(np.float32),
        "feedback": None if independent else (share + np.eye(columns)).astype(np.float32),
        "curvature": rng.exponential(size=columns).astype(np.float32),
        "row_weights": rng.exponential(size=rows).astype(np.float32),
        "row_scales": (2.0 ** rng.integers(-3, 4, rows)).astype(np.float32),
        "column_scales": rng.uniform(0.3, 3, columns).astype(np.float32),
        "rate_weight": float(rng.choice([0.0, 0.01, 0.3, 10.0])),
        "bits": rng.exponential(4, (tables, 2 * limit + 1)).astype(np.float32),
        "first": -int(rng.integers(0, 2 * limit + 1)),
        "row_tables": rng.integers(0, tables, rows).astype(np.uint8),
        "order": rng.permutation(columns).astype(np.uint32) if rng.integers(2) else None,
    }


@given(rng=generators, size=sizes, independent=st.booleans(), tables=st.integers(1, 5))
def test_native_symbols_are_those_of_the_reference(
    rng: np.random.Generator, size: tuple[int, int], independent: bool, tables: int
) -> None:
    arguments = kernel_arguments(rng, *size, independent=independent, tables=tables)
    expected, expected_counts = reference.feedback_quantize(**arguments)
    assert expected.shape == size
    for threads in (1, 2, 5):
        found, counts = _core.feedback_quantize(**arguments, threads=threads)
        assert found.dtype == np.int16
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(counts, expected_counts)


@given(rng=generators, size=sizes)
def test_free_bits_give_the_nearest_symbol(rng: np.random.Generator, size: tuple[int, int]) -> None:
    arguments = kernel_arguments(rng, *size, independent=True, tables=1)
    arguments |= {"rate_weight": 0.0, "bits": np.ones((1, 201), np.float32), "first": -100}
    arguments |= {"order": None}
    symbols, _ = _core.feedback_quantize(**arguments, threads=1)
    steps = arguments["row_scales"][:, None] * arguments["column_scales"]
    expected = np.rint(np.clip(arguments["values"] / steps, -100, 100))
    np.testing.assert_array_equal(symbols, expected)


WRONG: dict[str, dict[str, Any]] = {
    "matrices": {"values": np.zeros(3, np.float32)},
    "square": {"feedback": np.zeros((3, 4), np.float32)},
    "for each row": {"row_scales": np.ones(3, np.float32)},
    "for each column": {"column_scales": np.ones(2, np.float32)},
    "a column for each column": {"order": np.array([0, 1, 3], np.uint32)},
    "exceeds those of bits": {"row_tables": np.array([0, 1], np.uint8)},
    "symbol 0": {"first": 1},
    "one-dimensional": {"curvature": np.ones((3, 1), np.float32)},
}


@pytest.mark.parametrize("message", WRONG)
def test_arguments_that_do_not_fit_are_refused(message: str) -> None:
    arguments = kernel_arguments(np.random.default_rng(0), 2, 3, independent=False, tables=1)
    with pytest.raises(ValueError, match=message):
        _core.feedback_quantize(**(arguments | WRONG[message]), threads=1)


@pytest.mark.parametrize("rate_weight", [1e-3, 0.1])
def test_feedback_beats_plain_rounding(rate_weight: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the same grid; without a price for bits, so that only the errors differ."""
    monkeypatch.setattr(feedback_module, "DECISION", 0.0)
    rng = np.random.default_rng(1)
    ratios = []
    for _ in range(20):
        columns = int(rng.integers(5, 40))
        moment, matrix = random_moment(rng, columns), random_weights(rng, 30, columns)
        rows = rng.exponential(size=30) + 0.1
        found = feedback_quantize(matrix, Curvature.of(moment, False), rows, rate_weight).weights
        unit = QuantizedMatrix(
            np.ones_like(found.symbols),
            found.step,
            None,
            found.row_exponents,
            found.column_exponents,
        ).values()
        plain = np.rint(matrix / unit) * unit
        costs = [cost(matrix - decoded, moment, rows) for decoded in (found.values(), plain)]
        ratios.append(costs[0] / costs[1])
    # Never much worse, and much better together.
    assert max(ratios) < 1.1
    assert np.exp(np.mean(np.log(ratios))) < 0.7


def test_decisions_lower_the_whole_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors and bits together: decisions that know what symbols cost beat those that do not."""
    rng = np.random.default_rng(2)
    moment, matrix = random_moment(rng, 40), random_weights(rng, 200, 40)
    rows = np.ones(200)
    for rate_weight in (1.0, 10.0):
        totals = []
        for decision in (feedback_module.DECISION, 0.0):
            monkeypatch.setattr(feedback_module, "DECISION", decision)
            found = feedback_quantize(matrix, Curvature.of(moment, False), rows, rate_weight)
            monkeypatch.undo()
            error = matrix - found.matrix()
            totals.append(cost(error, moment, rows) + rate_weight * bits_of(found))
        assert totals[0] < totals[1]


@pytest.mark.parametrize("bias", [False, True])
def test_a_larger_rate_weight_takes_fewer_bits_and_errs_more(bias: bool) -> None:
    rng = np.random.default_rng(3)
    moment, matrix = random_moment(rng, 30 + bias, bias=bias), random_weights(rng, 40, 30 + bias)
    rows = rng.exponential(size=40)
    curvature = Curvature.of(moment, bias)
    found = [
        feedback_quantize(matrix, curvature, rows, weight) for weight in 4.0 ** np.arange(-5, 5)
    ]
    bits = [bits_of(one) for one in found]
    costs = [cost(matrix - one.matrix(), moment, rows) for one in found]
    assert bits == sorted(bits, reverse=True) and bits[-1] < bits[0] / 5
    assert costs == sorted(costs) and costs[-1] > 10 * costs[0]


def test_independent_inputs_pass_nothing_on() -> None:
    curvature = Curvature.of(np.eye(7), False)
    np.testing.assert_array_equal(curvature.feedback, np.eye(7, dtype=np.float32))
    matrix = random_weights(np.random.default_rng(4), 9, 7)
    flat = Curvature.flat(7)
    found = [feedback_quantize(matrix, one, np.ones(9), 0.01) for one in (curvature, flat)]
    # Damping makes the curvature one hundredth larger, which a bfloat16 step may show.
    assert found[0].weights.step == pytest.approx(found[1].weights.step, rel=0.01)
    decoded = [one.weights.values() for one in found]
    assert np.abs(decoded[0] - decoded[1]).max() <= found[1].weights.step


@given(rng=generators, columns=st.integers(1, 12), decades=st.floats(0, 3), bias=st.booleans())
def test_the_curvature_is_the_damped_moment(
    rng: np.random.Generator, columns: int, decades: float, bias: bool
) -> None:
    """What the columns pay in turn adds up to the quadratic, the bias taking over what it can."""
    moment = random_moment(rng, columns + bias, bias=bias, decades=decades)
    curvature = Curvature.of(moment, bias)
    assert sorted(curvature.order) == list(range(columns))
    assert (np.diff(curvature.energy) <= 0).all()
    own = rng.standard_normal((5, columns))  # each column's error when its turn comes
    assert curvature.feedback is not None
    whole = np.empty_like(own)
    whole[:, curvature.order] = own @ curvature.feedback.astype(np.float64)
    energies = np.diagonal(moment)[:columns]
    damping = feedback_module.DAMPING * feedback_module.typical_energy(energies)
    damped = moment + damping * np.eye(len(moment))
    if bias:
        rest = damped[:columns, -1]
        damped = damped[:columns, :columns] - np.outer(rest, rest) / damped[-1, -1]
    paid = (np.square(own) * curvature.diagonal).sum()
    assert paid == pytest.approx(cost(whole, damped, np.ones(5)), rel=1e-3)


@given(rng=generators, count=st.integers(200, 400), huge=st.floats(1e3, 1e9))
def test_few_huge_energies_are_not_typical(
    rng: np.random.Generator, count: int, huge: float
) -> None:
    energies = rng.uniform(0.5, 1.5, count)
    plain = feedback_module.typical_energy(energies)
    assert plain == pytest.approx(energies.mean(), rel=0.01)
    energies[rng.integers(count)] *= huge
    assert feedback_module.typical_energy(energies) == pytest.approx(plain, rel=0.02)


def test_columns_of_huge_inputs_get_steps_that_reach() -> None:
    """One input has a million times the energy of the others, and a weight there is large."""
    rng = np.random.default_rng(3)
    inputs = rng.standard_normal((400, 24))
    inputs[:, 7] *= 1e4
    moment = inputs.T @ inputs / len(inputs)
    matrix = rng.standard_normal((16, 24)).astype(np.float32)
    matrix[3, 7] = 300
    curvature = Curvature.of(moment, bias=False)
    found = feedback_quantize(matrix, curvature, np.ones(16), 1e-2, threads=1).weights
    symbols = np.abs(found.symbols.astype(np.int64))
    assert symbols.max() <= LARGEST_SYMBOL and symbols[3, 7] > LARGEST_SYMBOL / 2
    error = matrix - found.values()
    assert np.abs(error[:, 7]).max() <= 300 / (LARGEST_SYMBOL / 2)
    assert np.abs(np.delete(error, 7, 1)).max() < 1


@given(rng=generators, size=st.integers(0, 150))
def test_triangles_are_inverted(rng: np.random.Generator, size: int) -> None:
    matrix = np.triu(rng.standard_normal((size, size))) + 8 * np.eye(size)
    inverse = feedback_module.inverse_of_triangle(matrix)
    np.testing.assert_allclose(inverse @ matrix, np.eye(size), atol=1e-10)
    assert not np.tril(inverse, -1).any()


def test_the_bias_takes_over_the_mean_error() -> None:
    rng = np.random.default_rng(5)
    inputs = np.column_stack([rng.standard_normal((500, 20)) + 3, np.ones(500)])
    matrix = random_weights(rng, 30, 21)
    curvature = Curvature.of(inputs.T @ inputs / 500, True)
    found = feedback_quantize(matrix, curvature, np.ones(30), 0.5)
    assert found.bias is not None
    before = inputs[:, :20] @ (matrix[:, :20] - found.weights.values()).T
    after = inputs @ (matrix - found.matrix()).T
    assert np.abs(after.mean(0)).max() <= found.bias.step * 0.51
    assert np.abs(before.mean(0)).mean() > 2 * np.abs(after.mean(0)).mean()


@pytest.mark.parametrize("value", [1e20, -1e20, math.nan, math.inf])
def test_values_beyond_all_symbols_are_refused(value: float) -> None:
    matrix = np.ones((3, 4), np.float32)
    matrix[1, 2] = value
    for curvature in (Curvature.flat(4), Curvature.of(np.eye(4), False)):
        with pytest.raises(OutOfRangeError):
            feedback_quantize(matrix, curvature, np.ones(3), 0.01)


def test_a_bias_has_the_step_that_it_needs() -> None:
    matrix = np.ones((3, 5), np.float32)
    matrix[:, 4] = [1e20, -3e19, 0]
    found = feedback_quantize(matrix, Curvature.of(np.eye(5), True), np.ones(3), 0.01)
    assert found.matrix()[:, 4] == pytest.approx(matrix[:, 4], abs=1e20 / 4000)
    assert found.matrix()[:, :4] == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1), (1, 9), (9, 1)])
def test_shapes_at_the_edge(shape: tuple[int, int]) -> None:
    matrix = np.full(shape, 0.7, np.float32)
    found = feedback_quantize(matrix, Curvature.flat(shape[1]), np.ones(shape[0]), 1e-4)
    assert found.weights.symbols.shape == shape and found.bias is None
    assert found.matrix() == pytest.approx(matrix, abs=0.02)


def bad_moment(kind: str, size: int, *, bias: bool) -> Float64Array:
    rng = np.random.default_rng(6)
    if kind == "zero":
        return np.zeros((size, size))
    if kind == "rank 1":
        one = rng.standard_normal(size)
        one[-1] = 1.0
        return np.outer(one, one)
    moment = random_moment(rng, size, bias=bias)
    scale = 10.0 ** np.linspace(-6, 6, size)
    if bias:
        scale[-1] = 1.0
    factor = {"dynamic range": scale, "tiny": scale[:1] * 1e-8, "huge": scale[-2:-1] * 1e4}[kind]
    factor = np.broadcast_to(factor, size).copy()
    if bias:
        factor[-1] = 1.0
    return np.asarray(moment * np.outer(factor, factor))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", ["zero", "rank 1", "dynamic range", "tiny", "huge"])
def test_singular_and_badly_conditioned_moments(kind: str, bias: bool) -> None:
    moment = bad_moment(kind, 20 + bias, bias=bias)
    curvature = Curvature.of(moment, bias)
    matrix = random_weights(np.random.default_rng(7), 10, 20 + bias)
    rows = np.ones(10)
    unit = max(float(curvature.diagonal.astype(np.float64).mean()), 1e-30)
    found = feedback_quantize(matrix, curvature, rows, 1e-2 * unit)
    assert np.isfinite(found.matrix()).all()
    error = matrix - found.matrix()
    assert cost(error, moment, rows) <= 0.2 * cost(matrix, moment, rows)


def test_rows_that_never_count_do_not_coarsen_the_others() -> None:
    rng = np.random.default_rng(8)
    moment, matrix = random_moment(rng, 15), random_weights(rng, 30, 15)
    curvature = Curvature.of(moment, False)
    rows = rng.exponential(size=30) + 0.1
    dead = np.where(np.arange(30) < 15, rows, 0.0)
    found, alone = (
        feedback_quantize(one, curvature, weights, 0.1).weights.values()[:15]
        for one, weights in ((matrix, dead), (matrix[:15], rows[:15]))
    )
    costs = [cost(matrix[:15] - decoded, moment, rows[:15]) for decoded in (found, alone)]
    assert costs[0] == pytest.approx(costs[1], rel=0.2)


def test_nothing_counts() -> None:
    matrix = random_weights(np.random.default_rng(9), 4, 5)
    found = feedback_quantize(matrix, Curvature.flat(5), np.zeros(4), 1e-6)
    assert np.isfinite(found.matrix()).all()


@pytest.mark.parametrize("rate_weight", [1e-300, 1e-30, 1e30, 1e300])
def test_rate_weights_without_reason(rate_weight: float) -> None:
    matrix = random_weights(np.random.default_rng(9), 4, 5)
    try:
        found = feedback_quantize(matrix, Curvature.flat(5), np.ones(4), rate_weight)
    except OutOfRangeError:
        assert rate_weight < 1
    else:
        assert rate_weight > 1 and not found.matrix().any()
        encode_matrices([found.weights])


def test_steps_follow_rows_and_columns_by_half() -> None:
    """Of an error's cost, half is made up for by a finer step: 2^8 in cost is 2^2 in step."""
    moment = np.diag([1.0, 256.0, 1.0, 256.0])
    rows = np.array([1.0, 256.0])
    matrix = random_weights(np.random.default_rng(10), 2, 4)
    found = feedback_quantize(matrix, Curvature.of(moment, False), rows, 0.01).weights
    assert found.row_exponents is not None and found.column_exponents is not None
    np.testing.assert_array_equal(found.row_exponents, [2, -2])
    np.testing.assert_array_equal(found.column_exponents - found.column_exponents[1], [4, 0, 4, 0])


@given(rng=generators, size=st.tuples(st.integers(1, 15), st.integers(1, 15)), bias=st.booleans())
def test_archives_decode_to_what_was_promised(
    rng: np.random.Generator, size: tuple[int, int], bias: bool
) -> None:
    rows, columns = size
    curvature = Curvature.of(random_moment(rng, columns + bias, bias=bias), bias)
    matrix = random_weights(rng, rows, columns + bias)
    rate_weight = 10 ** rng.uniform(-2, 1) * curvature.energy.mean()
    found = feedback_quantize(matrix, curvature, 10 ** rng.uniform(-1, 1, rows), rate_weight)
    arrays = {"weight": found.weights.values()}
    matrices = [found.weights]
    if found.bias is not None:
        arrays["bias"] = found.bias.values()[0]
        matrices.append(found.bias)
    table = [
        (name, "quantized", array.shape, array.dtype, 0, kernels.digest(array))
        for name, array in arrays.items()
    ]
    data = _core.write_archive([], [("quantized", encode_matrices(matrices))], table)
    for decoded in (vc.decode(data), reference.decode(data)):
        for name, array in arrays.items():
            assert decoded[name].tobytes() == array.tobytes()


def test_threads_make_no_difference() -> None:
    rng = np.random.default_rng(11)
    curvature = Curvature.of(random_moment(rng, 33), False)
    matrix, rows = random_weights(rng, 70, 33), rng.exponential(size=70)
    found = [
        feedback_quantize(matrix, curvature, rows, 0.1, threads=threads).weights.symbols
        for threads in (0, 1, 2, 5)
    ]
    for symbols in found[1:]:
        np.testing.assert_array_equal(symbols, found[0])


def test_slabs_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large matrices are decoded some rows at a time, to save memory."""
    rng = np.random.default_rng(13)
    curvature = Curvature.of(random_moment(rng, 9), False)
    matrix, rows = random_weights(rng, 31, 9), rng.exponential(size=31)
    found = feedback_quantize(matrix, curvature, rows, 0.1).weights
    whole = found.values()
    monkeypatch.setattr("vaecomp_native.quantization.matrix.SLAB_ELEMENTS", 40)
    np.testing.assert_array_equal(found.values(), whole)


def test_prices_of_symbols() -> None:
    assert np.diff(guessed_bits(5)[5:]) == pytest.approx(2)
    counts = np.zeros(81)
    counts[39:42] = 1, 6, 1
    bits = smoothed_bits(counts)
    assert np.isfinite(bits).all() and np.exp2(-bits.astype(np.float64)).sum() == pytest.approx(1)
    assert bits[40] < bits[41] < bits[42] < bits[80]
    assert bits[40] == pytest.approx(-math.log2(6 / 8), abs=0.3)


def test_steps_are_bfloat16_numbers() -> None:
    matrix = random_weights(np.random.default_rng(12), 5, 6)
    for rate_weight in (1e-4, 0.037, 2.2):
        step = feedback_quantize(matrix, Curvature.flat(6), np.ones(5), rate_weight).weights.step
        assert float(to_bfloat16(step)) == step
        assert step == pytest.approx(feedback_module.STEP * rate_weight**0.5, rel=2**-8)
