"""Context levels: what they save, and matrices at the edge."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vaecomp_native as vc
from vaecomp_native import _core, kernels, reference
from vaecomp_native.codecs import quantized
from vaecomp_native.codecs.quantized import encode_matrices
from vaecomp_native.quantization.contexts import ContextLevels, fit_contexts
from vaecomp_native.quantization.entropy import entropy_bits
from vaecomp_native.quantization.matrix import QuantizedMatrix

from .samples import generators

Symbols = npt.NDArray[np.int16]

shapes = st.tuples(st.integers(0, 30), st.integers(0, 30))


def spread_symbols(
    seed: int, rows: int, columns: int, *, row_octaves: float, column_octaves: float
) -> Symbols:
    """Laplace symbols whose scales differ by so many octaves between rows and between columns."""
    rng = np.random.default_rng(seed)
    by_row = 2 ** rng.uniform(-row_octaves / 2, row_octaves / 2, rows)
    by_column = 2 ** rng.uniform(-column_octaves / 2, column_octaves / 2, columns)
    scales = 0.7 * by_row[:, None] * by_column
    return np.rint(rng.laplace(size=(rows, columns)) * scales).astype(np.int16)


def coded_bytes(*symbols: Symbols) -> int:
    return len(encode_matrices([QuantizedMatrix(one) for one in symbols]))


def bytes_with_one_table(monkeypatch: pytest.MonkeyPatch, *symbols: Symbols) -> int:
    with monkeypatch.context() as patch:
        patch.setattr(quantized, "TABLES", (1,))
        return coded_bytes(*symbols)


def levels_of(contexts: ContextLevels, symbols: Symbols) -> npt.NDArray[np.int64]:
    """The sum of levels int64 [R, C] of each element."""
    levels = np.full(symbols.shape, contexts.level)
    if contexts.rows is not None:
        levels += contexts.rows[:, None]
    if contexts.columns is not None:
        levels += contexts.columns
    return levels


def bits_by_level(symbols: Symbols, levels: npt.NDArray[np.int64]) -> float:
    """Ideal code length when each level has its own table."""
    groups = (symbols[levels == level] for level in np.unique(levels))
    return sum(entropy_bits(np.unique(group, return_counts=True)[1]) for group in groups)


@pytest.mark.parametrize(("rows", "columns"), [(3.0, 0.0), (0.0, 3.0), (3.0, 3.0)])
def test_rows_and_columns_of_different_scales_shrink(
    monkeypatch: pytest.MonkeyPatch, rows: float, columns: float
) -> None:
    symbols = spread_symbols(1, 150, 200, row_octaves=rows, column_octaves=columns)
    assert coded_bytes(symbols) < 0.95 * bytes_with_one_table(monkeypatch, symbols)


@pytest.mark.parametrize("by_column", [False, True])
def test_levels_come_close_to_what_is_there_to_gain(by_column: bool) -> None:
    """Against tables for the true scales, in steps of a quarter octave."""
    rng = np.random.default_rng(2)
    octaves = np.broadcast_to(rng.uniform(-1.5, 1.5, (300, 1)), (300, 300))
    octaves = octaves.T if by_column else octaves
    symbols = np.rint(rng.laplace(size=(300, 300)) * 0.7 * np.exp2(octaves)).astype(np.int16)
    known = np.floor(4 * octaves).astype(np.int64)
    (found,) = fit_contexts([symbols], 10).levels
    fitted = bits_by_level(symbols, levels_of(found, symbols))
    single = bits_by_level(symbols, np.zeros_like(known))
    gained = (single - fitted) / (single - bits_by_level(symbols, known))
    assert gained > 0.9


def test_livelier_rows_have_higher_levels() -> None:
    rng = np.random.default_rng(3)
    scales = np.repeat([0.2, 1.0, 5.0], 40)
    symbols = np.rint(rng.laplace(size=(120, 100)) * scales[:, None]).astype(np.int16)
    (found,) = fit_contexts([symbols], 6).levels
    assert found.rows is not None
    lowest, highest = found.rows.reshape(3, 40).min(1), found.rows.reshape(3, 40).max(1)
    assert (highest[:-1] < lowest[1:]).all()


def test_matrices_share_their_tables() -> None:
    """One table for each of two matrices of different scales: the levels are all in the base."""
    quiet = spread_symbols(4, 80, 80, row_octaves=0, column_octaves=0)
    lively = 20 * spread_symbols(5, 80, 80, row_octaves=0, column_octaves=0)
    contexts = fit_contexts([quiet, lively], 2).levels
    assert [one.level for one in contexts] == [0, 1]
    assert all(one.rows is None and one.columns is None for one in contexts)


@given(
    seed=st.integers(0, 1000),
    shapes=st.lists(shapes, min_size=1, max_size=4),
    octaves=st.tuples(st.floats(0, 6), st.floats(0, 6)),
)
def test_never_larger_than_with_one_table(
    seed: int, shapes: list[tuple[int, int]], octaves: tuple[float, float]
) -> None:
    symbols = [
        spread_symbols(seed + i, *shape, row_octaves=octaves[0], column_octaves=octaves[1])
        for i, shape in enumerate(shapes)
    ]
    with pytest.MonkeyPatch.context() as patch:
        assert coded_bytes(*symbols) <= bytes_with_one_table(patch, *symbols)


@given(
    rng=generators,
    shapes=st.lists(shapes, min_size=1, max_size=4),
    tables=st.integers(1, 12),
    alphabet=st.sampled_from([0, 1, 40, 400]),
)
def test_levels_fit_the_format_and_decode(
    rng: np.random.Generator, shapes: list[tuple[int, int]], tables: int, alphabet: int
) -> None:
    """Alphabets of any size, some without 0 and some shifted, side by side in one section."""
    symbols = [
        (rng.integers(-alphabet, alphabet + 1, shape) // rng.integers(1, 9)).astype(np.int16)
        + np.int16(rng.integers(-40, 41))
        for shape in shapes
    ]
    contexts = fit_contexts(symbols, tables).levels
    for found, one in zip(contexts, symbols, strict=True):
        assert 0 <= found.level <= 2 * (tables - 1)
        for levels, length in zip((found.rows, found.columns), one.shape, strict=True):
            if levels is not None:
                assert levels.dtype == np.uint8 and levels.shape == (length,)
                # What all have in common is in the base level, and zeros are left out.
                assert levels.min() == 0 < levels.max() < tables
    section = encode_matrices([QuantizedMatrix(one) for one in symbols])
    arrays = {str(i): one.astype(np.float32) for i, one in enumerate(symbols)}
    table = [
        (name, "quantized", array.shape, array.dtype, 0, kernels.digest(array))
        for name, array in arrays.items()
    ]
    data = _core.write_archive([], [("quantized", section)], table)
    for decoded in (vc.decode(data), reference.decode(data)):
        for name, array in arrays.items():
            np.testing.assert_array_equal(decoded[name], array)


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0)])
@pytest.mark.parametrize("tables", [1, 3, 10])
def test_empty_matrices_have_no_levels(shape: tuple[int, int], tables: int) -> None:
    assert fit_contexts([np.empty(shape, np.int16)], tables).levels == [
        ContextLevels(0, None, None)
    ]


def test_nothing_to_fit() -> None:
    assert fit_contexts([], 6).levels == []


@pytest.mark.parametrize("shape", [(1, 300), (300, 1)])
def test_vectors_are_not_worth_levels_for_each_element(shape: tuple[int, int]) -> None:
    symbols = np.random.default_rng(6).integers(-3, 4, shape).astype(np.int16)
    # What 300 symbols of 7 kinds take by themselves, and a table.
    assert coded_bytes(symbols) < 300 * np.log2(7) / 8 + 40


def test_one_table_has_no_levels() -> None:
    symbols = spread_symbols(7, 30, 30, row_octaves=4, column_octaves=4)
    assert fit_contexts([symbols], 1).levels == [ContextLevels(0, None, None)]


def test_equal_symbols_give_equal_bytes() -> None:
    symbols = spread_symbols(8, 60, 70, row_octaves=3, column_octaves=3)
    matrices = [QuantizedMatrix(symbols.copy()), QuantizedMatrix(-symbols)]
    assert encode_matrices(matrices) == encode_matrices(matrices[:])


def test_fitting_leaves_the_symbols_alone() -> None:
    symbols = spread_symbols(9, 20, 30, row_octaves=3, column_octaves=3)
    symbols.flags.writeable = False
    fit_contexts([symbols], 6)


@given(
    rng=generators,
    shapes=st.lists(st.one_of(shapes, st.tuples(st.integers(30, 60), st.integers(30, 60)))),
    tables=st.integers(1, 16),
    limit=st.sampled_from([0, 3, 60, 900]),
    narrow=st.booleans(),
    threads=st.sampled_from([1, 2, 5]),
)
def test_native_levels_are_those_of_the_reference(
    rng: np.random.Generator,
    shapes: list[tuple[int, int]],
    tables: int,
    limit: int,
    narrow: bool,
    threads: int,
) -> None:
    limit = min(limit, 60) if narrow else limit
    symbols = [
        (rng.laplace(size=shape) * limit / 5 * rng.uniform(0, 1, (shape[0], 1)))
        .clip(-limit, limit)
        .astype(np.int8 if narrow else np.int16)
        for shape in shapes
    ]
    start = rng.exponential(size=(tables, 2 * limit + 1))
    start /= start.sum(1, keepdims=True)
    levels, costs, counts = _core.fit_contexts(symbols, start, -limit, 3, threads)
    expected, expected_costs, expected_counts = reference.fit_contexts(symbols, start, -limit, 3)
    np.testing.assert_array_equal(costs, expected_costs)
    np.testing.assert_array_equal(counts, expected_counts)
    assert len(levels) == len(expected)
    for found, one in zip(levels, expected, strict=True):
        assert found[0] == one[0]
        for axis, expected_axis in zip(found[1:], one[1:], strict=True):
            np.testing.assert_array_equal(axis, expected_axis)


def test_long_rows_and_columns_do_not_overflow() -> None:
    """More elements than a 32-bit sum of costs holds, in a row and in a column."""
    symbols = np.random.default_rng(10).integers(-1, 2, (1, 200_000)).astype(np.int8)
    start = np.full((2, 3), 1 / 3)
    for one in (symbols, symbols.T.copy()):
        levels, *counted = _core.fit_contexts([one], start, -1, 2, 1)
        expected, *expected_counted = reference.fit_contexts([one], start, -1, 2)
        assert [found[0] for found in levels] == [found[0] for found in expected]
        for found_counts, expected_counts in zip(counted, expected_counted, strict=True):
            np.testing.assert_array_equal(found_counts, expected_counts)


def test_large_matrices_are_fitted_to_some_of_their_rows() -> None:
    rng = np.random.default_rng(11)
    symbols = (rng.laplace(size=(1100, 500)) * rng.uniform(0, 4, (1100, 1))).astype(np.int8)
    start = rng.exponential(size=(3, 256))
    start /= start.sum(1, keepdims=True)
    for threads in (1, 2):
        levels, *counted = _core.fit_contexts([symbols], start, -128, 3, threads)
        expected, *expected_counted = reference.fit_contexts([symbols], start, -128, 3)
        np.testing.assert_array_equal(levels[0][1], expected[0][1])
        for found_counts, expected_counts in zip(counted, expected_counted, strict=True):
            np.testing.assert_array_equal(found_counts, expected_counts)
        assert counted[1].sum() == symbols.size


def test_the_extent_of_symbols() -> None:
    quiet, lively = np.array([[0, 1]], np.int8), np.array([[-300, 100]], np.int16)
    assert _core.symbol_extent([]) == (0, 0, 0.0)
    assert _core.symbol_extent([quiet]) == (0, 1, 0.5)
    assert _core.symbol_extent([quiet, np.empty((0, 3), np.int8), lively]) == (-300, 100, 200.0)


@pytest.mark.parametrize(
    ("message", "symbols", "frequencies", "rounds"),
    [
        ("no frequency", np.array([[2]], np.int8), np.ones((1, 3)), 1),
        ("no frequency", np.array([[-2]], np.int8), np.ones((1, 3)), 1),
        ("int8 or int16", np.array([[1]], np.int32), np.ones((1, 3)), 1),
        ("C-contiguous", np.zeros((2, 2), np.int8).T[::2], np.ones((1, 3)), 1),
        ("rows, columns", np.zeros(3, np.int8), np.ones((1, 3)), 1),
        ("1 to 16 tables", np.array([[1]], np.int8), np.ones((17, 3)), 1),
        ("1 to 16 tables", np.array([[1]], np.int8), np.ones(3), 1),
        ("a round", np.array([[1]], np.int8), np.ones((1, 3)), 0),
    ],
)
def test_fitting_refuses_what_it_cannot_count(
    message: str, symbols: npt.NDArray[Any], frequencies: npt.NDArray[Any], rounds: int
) -> None:
    with pytest.raises(ValueError, match=message):
        _core.fit_contexts([symbols], frequencies, -1, rounds, 1)
