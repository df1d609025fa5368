"""Residual and lossless sections: the native encoders against the reference and against misuse."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vaecomp_native as vc
from vaecomp_native import _core, kernels, reference
from vaecomp_native.reference.rans import Tables, automatic_lanes, code_length

from .archive_writer import coded_symbols, frequency_tables
from .archives import quantized_section, random_quantized
from .samples import DTYPES, FLOAT_DTYPES, float_values, generators

SHAPES = st.lists(st.integers(0, 12), max_size=3).map(tuple)


def archive_of(codec: str, section: bytes, arrays: dict[str, np.ndarray]) -> bytes:
    """An archive of one section."""
    rows = [
        (name, codec, array.shape, array.dtype, 0, kernels.digest(array))
        for name, array in arrays.items()
    ]
    return _core.write_archive([], [(codec, section)], rows)


def assert_decodes_to(data: bytes, arrays: dict[str, np.ndarray]) -> None:
    """Natively and through the reference, to the last bit."""
    for decoded in (vc.decode(data), reference.decode(data)):
        assert list(decoded) == list(arrays)
        for name, array in arrays.items():
            assert decoded[name].dtype == array.dtype
            assert decoded[name].shape == array.shape
            assert decoded[name].tobytes() == array.tobytes()


@given(
    rng=generators,
    kinds=st.lists(
        st.tuples(SHAPES, st.sampled_from(FLOAT_DTYPES), st.sets(st.sampled_from("rRcCb"))),
        min_size=1,
        max_size=5,
    ),
)
def test_residual_tensors_of_every_kind(
    isa: str, rng: np.random.Generator, kinds: list[tuple[tuple[int, ...], Any, set[str]]]
) -> None:
    tensors = {
        str(i): random_quantized(rng, shape, dtype, "".join(parts))
        for i, (shape, dtype, parts) in enumerate(kinds)
    }
    section, arrays = quantized_section(tensors)
    assert_decodes_to(archive_of("quantized", section, arrays), arrays)


@given(rng=generators, shape=st.tuples(st.integers(1, 90), st.integers(1, 90)))
@pytest.mark.parametrize("tables", [1, 3, 9])
def test_symbols_are_coded_as_the_reference_codes_them(
    rng: np.random.Generator, shape: tuple[int, int], tables: int
) -> None:
    row_levels = rng.integers(0, tables, shape[0]).astype(np.uint8)
    column_levels = rng.integers(0, tables, shape[1]).astype(np.uint8)
    contexts = (1 + np.add.outer(row_levels, column_levels, dtype=np.int64)).reshape(-1)
    symbols = np.rint(rng.standard_normal(contexts.size) * contexts).astype(np.int16)
    made = Tables(frequency_tables(symbols, contexts))
    lanes = automatic_lanes(symbols.size, code_length(made, symbols, contexts))
    tensor = (symbols.reshape(shape), 1.0, 1, None, row_levels, None, column_levels, None)
    assert _core.encode_quantized(0, [tensor]).endswith(coded_symbols(symbols, contexts, lanes))


def test_levels_beyond_the_last_table_use_it(isa: str) -> None:
    symbols = np.arange(4, dtype=np.int8).reshape(2, 2)
    levels = np.array([200, 255], np.uint8)
    tensor = (symbols, 1.0, 255, None, levels, None, levels, None)
    section = _core.encode_quantized(0, [tensor])
    assert_decodes_to(
        archive_of("quantized", section, {"x": symbols.astype("f4")}), {"x": symbols.astype("f4")}
    )


@given(rng=generators, tables=st.integers(1, 4))
def test_levels_from_the_number_of_tables_on_share_the_last_one(
    rng: np.random.Generator, tables: int
) -> None:
    levels = rng.integers(0, 7, 40).astype(np.uint8)
    symbols = np.rint(rng.standard_normal((40, 9)) * (1 + levels[:, None])).astype(np.int8)

    def encoded(levels: npt.NDArray[np.uint8], *most: int) -> bytes:
        return _core.encode_quantized(
            0, [(symbols, 1.0, 0, None, levels, None, None, None)], *most
        )[-100:]

    assert encoded(levels, tables) == encoded(np.minimum(levels, np.uint8(tables - 1)))


@pytest.mark.parametrize("tables", [0, 257])
def test_impossible_numbers_of_tables_are_refused(tables: int) -> None:
    with pytest.raises(ValueError, match="1 to 256 tables"):
        _core.encode_quantized(0, [], tables)


@given(rng=generators)
def test_symbols_are_coded_alike_in_both_widths(rng: np.random.Generator) -> None:
    symbols = rng.integers(-128, 128, (30, 40)).astype(np.int8)
    sections = [
        _core.encode_quantized(0, [(form, 1.0, 0, None, None, None, None, None)])
        for form in (symbols, symbols.astype(np.int16))
    ]
    assert sections[0] == sections[1]


def test_values_may_overflow_and_nan_is_canonical(isa: str) -> None:
    """A base of infinity: what is added to it, and what cancels it."""
    base = np.array([np.inf, -np.inf, np.inf, 1.0], np.float32)
    decoder = _core.encode_float32_decoder(
        [(np.full((4, 1), 3e38, np.float32) * np.sign(base)[:, None], np.zeros(4, np.float32))]
    )
    latents = _core.encode_float32_latents(0, 4, 0, np.full((1, 1), 2.0, np.float32))
    book = np.array([-3e38, 0.0, 3e38], np.float32).astype(ml_dtypes.bfloat16).astype(np.float32)
    symbols = np.array([[0, 0, 2, 2]], np.int8)
    quantized = _core.encode_quantized(2, [(symbols, 4.0, 0, None, None, None, None, (0, book))])
    expected = np.array([np.nan, -np.inf, np.inf, np.inf], np.float32)
    expected.view(np.uint32)[0] = 0x7FC00000
    row = ("x", "quantized", (4,), expected.dtype, 2, kernels.digest(expected))
    parts = [("float32_decoder", decoder), ("latents", latents), ("quantized", quantized)]
    assert_decodes_to(_core.write_archive([], parts, [row]), {"x": expected})


SYMBOLS = np.array([[0, 1, 2], [3, -1, 0]], np.int16)
EXPONENTS = np.zeros(2, np.int8)
BAD_TENSORS: dict[str, tuple[Any, ...]] = {
    "bfloat16": (SYMBOLS, 0.1, 0, None, None, None, None, None),
    "above 0": (SYMBOLS, 0.0, 0, None, None, None, None, None),
    "not finite": (SYMBOLS, math.inf, 0, None, None, None, None, None),
    "context level": (SYMBOLS, 1.0, 256, None, None, None, None, None),
    "one value for each row": (SYMBOLS, 1.0, 0, None, None, EXPONENTS, None, None),
    "vectors": (SYMBOLS, 1.0, 0, EXPONENTS[None], None, None, None, None),
    "outside -64 to 64": (SYMBOLS, 1.0, 0, EXPONENTS + 65, None, None, None, None),
    "normal": (SYMBOLS, 2.0**-126, 0, EXPONENTS - 1, None, None, None, None),
    "in its codebook": (SYMBOLS, 1.0, 0, None, None, None, None, (-1, np.ones(4, np.float32))),
    "int8 or int16": (SYMBOLS.astype(np.int32), 1.0, 0, None, None, None, None, None),
    "C-contiguous": (SYMBOLS.T, 1.0, 0, None, None, None, None, None),
    "span 4097 values": (SYMBOLS // 3 * 4096, 1.0, 0, None, None, None, None, None),
    "shape": (SYMBOLS[0], 1.0, 0, None, None, None, None, None),
    "tuple of 8": (SYMBOLS, 1.0, 0),
}


@pytest.mark.parametrize("message", BAD_TENSORS)
def test_unusable_residual_tensors_are_refused(message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _core.encode_quantized(0, [BAD_TENSORS[message]])  # type: ignore[list-item]


@given(
    rng=generators, shape=SHAPES, dtype=st.sampled_from(FLOAT_DTYPES), scale=st.sampled_from([0, 1])
)
def test_lossless_float_tensors(
    isa: str, rng: np.random.Generator, shape: tuple[int, ...], dtype: Any, scale: int
) -> None:
    """Any bit patterns, NaNs among them, and zeros."""
    array = float_values(rng, dtype, math.prod(shape)).reshape(shape)
    array = array if scale else np.zeros_like(array)
    section = _core.encode_lossless([array])
    # The head's size, a form a plane, and a checksum where it has a block of its own.
    assert len(section) <= 3 + array.nbytes + 5 * dtype.itemsize
    assert_decodes_to(archive_of("lossless", section, {"x": array}), {"x": array})


@pytest.mark.parametrize("dtype", DTYPES, ids=_core.dtype_name)
def test_lossless_tensors_of_every_dtype(isa: str, dtype: Any) -> None:
    array = np.random.default_rng(7).integers(0, 2, (40, 50)).astype(dtype)
    section = _core.encode_lossless([array, array[:0]])
    # An exponent's bits may be in two planes; a number of a complex one in twice as many items.
    assert len(section) < 4 * 2000 / 8 + 16 * 25
    arrays = {"x": array, "empty": array[:0]}
    assert_decodes_to(archive_of("lossless", section, arrays), arrays)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_weights_shrink_by_their_exponents(dtype: str) -> None:
    weights = np.random.default_rng(3).standard_normal(200_000).astype(np.float32) * 0.02
    array = weights.astype(getattr(ml_dtypes, dtype, dtype))
    saved = array.nbytes - len(_core.encode_lossless([array]))
    # The exponent takes about 3 bits instead of 8; float16 has but 5, and shares its byte.
    assert saved * 8 / array.size > (4.5 if dtype != "float16" else 1)


def test_lossless_arrays_must_be_contiguous() -> None:
    with pytest.raises(ValueError, match="contiguous"):
        _core.encode_lossless([np.zeros((4, 4))[:, ::2]])
