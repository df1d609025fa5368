"""Context levels: what they save, and matrices at the edge."""

from __future__ import annotations

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

Symbols = npt.NDArray[np.int32]

shapes = st.tuples(st.integers(0, 30), st.integers(0, 30))


def spread_symbols(
    seed: int, rows: int, columns: int, *, row_octaves: float, column_octaves: float
) -> Symbols:
    """Laplace symbols whose scales differ by so many octaves between rows and between columns."""
    rng = np.random.default_rng(seed)
    by_row = 2 ** rng.uniform(-row_octaves / 2, row_octaves / 2, rows)
    by_column = 2 ** rng.uniform(-column_octaves / 2, column_octaves / 2, columns)
    scales = 0.7 * by_row[:, None] * by_column
    return np.rint(rng.laplace(size=(rows, columns)) * scales).astype(np.int32)


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
    symbols = np.rint(rng.laplace(size=(300, 300)) * 0.7 * np.exp2(octaves)).astype(np.int32)
    known = np.floor(4 * octaves).astype(np.int64)
    (found,) = fit_contexts([symbols], 10)
    fitted = bits_by_level(symbols, levels_of(found, symbols))
    single = bits_by_level(symbols, np.zeros_like(known))
    gained = (single - fitted) / (single - bits_by_level(symbols, known))
    assert gained > 0.9


def test_livelier_rows_have_higher_levels() -> None:
    rng = np.random.default_rng(3)
    scales = np.repeat([0.2, 1.0, 5.0], 40)
    symbols = np.rint(rng.laplace(size=(120, 100)) * scales[:, None]).astype(np.int32)
    (found,) = fit_contexts([symbols], 6)
    assert found.rows is not None
    lowest, highest = found.rows.reshape(3, 40).min(1), found.rows.reshape(3, 40).max(1)
    assert (highest[:-1] < lowest[1:]).all()


def test_matrices_share_their_tables() -> None:
    """One table for each of two matrices of different scales: the levels are all in the base."""
    quiet = spread_symbols(4, 80, 80, row_octaves=0, column_octaves=0)
    lively = 20 * spread_symbols(5, 80, 80, row_octaves=0, column_octaves=0)
    contexts = fit_contexts([quiet, lively], 2)
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
        (rng.integers(-alphabet, alphabet + 1, shape) // rng.integers(1, 9)).astype(np.int32)
        + np.int32(rng.integers(-40, 41))
        for shape in shapes
    ]
    contexts = fit_contexts(symbols, tables)
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
    assert fit_contexts([np.empty(shape, np.int32)], tables) == [ContextLevels(0, None, None)]


def test_nothing_to_fit() -> None:
    assert fit_contexts([], 6) == []


@pytest.mark.parametrize("shape", [(1, 300), (300, 1)])
def test_vectors_are_not_worth_levels_for_each_element(shape: tuple[int, int]) -> None:
    symbols = np.random.default_rng(6).integers(-3, 4, shape).astype(np.int32)
    # What 300 symbols of 7 kinds take by themselves, and a table.
    assert coded_bytes(symbols) < 300 * np.log2(7) / 8 + 40


def test_one_table_has_no_levels() -> None:
    symbols = spread_symbols(7, 30, 30, row_octaves=4, column_octaves=4)
    assert fit_contexts([symbols], 1) == [ContextLevels(0, None, None)]


def test_equal_symbols_give_equal_bytes() -> None:
    symbols = spread_symbols(8, 60, 70, row_octaves=3, column_octaves=3)
    matrices = [QuantizedMatrix(symbols.copy()), QuantizedMatrix(-symbols)]
    assert encode_matrices(matrices) == encode_matrices(matrices[:])


def test_fitting_leaves_the_symbols_alone() -> None:
    symbols = spread_symbols(9, 20, 30, row_octaves=3, column_octaves=3)
    symbols.flags.writeable = False
    fit_contexts([symbols], 6)


@given(rng=generators, shape=shapes, by_column=st.booleans(), groups=st.integers(1, 4))
def test_histograms_count_everything_once(
    rng: np.random.Generator, shape: tuple[int, int], by_column: bool, groups: int
) -> None:
    symbols = rng.integers(-5, 6, shape).astype(np.int32)
    ids = rng.integers(0, groups, shape[0 if by_column else 1]).astype(np.uint8)
    counts = _core.symbol_histograms(symbols, ids, by_column, groups, -5, 11)
    along = symbols.T if by_column else symbols
    assert counts.shape == (len(along), groups, 11)
    for row, found in zip(along, counts, strict=True):
        for group in range(groups):
            expected = np.bincount(row[ids == group] + 5, minlength=11)
            np.testing.assert_array_equal(found[group], expected)


@pytest.mark.parametrize(
    ("message", "groups", "first"),
    [("for each index", 3, -1), ("exceeds group_count", 4, -1), ("outside", 4, 0)],
)
def test_histograms_refuse_what_they_cannot_count(message: str, groups: int, first: int) -> None:
    symbols = np.array([[-1, 0, 1, 0]], np.int32)
    ids = np.arange(groups, dtype=np.uint8)
    with pytest.raises(ValueError, match=message):
        _core.symbol_histograms(symbols, ids, False, 4 if first == 0 else 3, first, 3)
