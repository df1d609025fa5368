"""flatten_chunk and unchunk: the native kernels against the reference, byte for byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaecomp_native import kernels, reference

from .samples import FLOAT_DTYPES, LAYOUTS, THREADS, float_arrays, float_values, with_layout

NARROW_DTYPES = [dtype for dtype in FLOAT_DTYPES if dtype.itemsize < 4]
EIGHT_OR_SIXTEEN_BITS = pytest.mark.parametrize("dtype", NARROW_DTYPES, ids=str)


def every_pattern(dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """All numbers of a narrow dtype."""
    unsigned = np.dtype(f"u{dtype.itemsize}")
    return np.arange(1 << 8 * dtype.itemsize).astype(unsigned).view(dtype)


def halfway_points(dtype: np.dtype[Any]) -> npt.NDArray[np.float32]:
    """Positive float32 numbers halfway between those of a narrow dtype, with their neighbours."""
    numbers = every_pattern(dtype).astype(np.float32)
    numbers = np.sort(numbers[np.isfinite(numbers) & ~np.signbit(numbers)])
    middles = numbers[:-1] + (numbers[1:] - numbers[:-1]) / 2
    bits = np.concatenate([middles, numbers, [np.float32(np.inf)]]).view(np.uint32)
    neighbours = np.concatenate([bits[bits > 0] - np.uint32(1), bits, bits[:-1] + np.uint32(1)])
    return neighbours.view(np.float32)


@given(
    tensors=st.lists(float_arrays(), max_size=6),
    chunk_length=st.sampled_from([1, 2, 3, 7, 64, 1000, 2048]),
    threads=st.sampled_from(THREADS),
)
def test_flatten_chunk_equals_reference(
    isa: str, tensors: list[npt.NDArray[Any]], chunk_length: int, threads: int
) -> None:
    chunks, padding = kernels.flatten_chunk(tensors, chunk_length, threads=threads)
    expected, expected_padding = reference.flatten_chunk(tensors, chunk_length)
    assert padding == expected_padding
    assert chunks.dtype == np.float32
    assert chunks.shape == expected.shape
    assert chunks.tobytes() == expected.tobytes()


@given(
    tensors=st.lists(float_arrays(), max_size=6),
    chunk_length=st.sampled_from([1, 2, 3, 7, 64, 1000, 2048]),
    threads=st.sampled_from(THREADS),
)
def test_unchunk_equals_reference(
    isa: str, tensors: list[npt.NDArray[Any]], chunk_length: int, threads: int
) -> None:
    chunks, _ = reference.flatten_chunk(tensors, chunk_length)
    specs = [(tensor.shape, tensor.dtype.newbyteorder("=")) for tensor in tensors]
    arrays = kernels.unchunk(chunks, specs, threads=threads)
    expected = reference.unchunk(chunks, specs)
    assert [array.shape for array in arrays] == [shape for shape, _ in specs]
    assert [array.dtype for array in arrays] == [dtype for _, dtype in specs]
    assert [array.tobytes() for array in arrays] == [array.tobytes() for array in expected]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOAT_DTYPES, ids=str)
def test_a_large_tensor_of_any_layout(isa: str, dtype: np.dtype[Any], layout: str) -> None:
    values = float_values(np.random.default_rng(3), dtype, 150_000).reshape(3, 50, 1000)
    tensor = with_layout(values, layout)
    chunks, padding = kernels.flatten_chunk([tensor], 4096, threads=2)
    expected, expected_padding = reference.flatten_chunk([tensor], 4096)
    assert (padding, chunks.tobytes()) == (expected_padding, expected.tobytes())


@pytest.mark.parametrize("threads", THREADS)
def test_many_tensors_of_all_dtypes(isa: str, threads: int) -> None:
    rng = np.random.default_rng(threads)
    sizes = [*rng.integers(0, 9000, 60).tolist(), 200_000]
    tensors = [float_values(rng, FLOAT_DTYPES[n % 6], size) for n, size in enumerate(sizes)]
    chunks, padding = kernels.flatten_chunk(tensors, 2048, threads=threads)
    expected, expected_padding = reference.flatten_chunk(tensors, 2048)
    assert (padding, chunks.tobytes()) == (expected_padding, expected.tobytes())
    specs = [(tensor.shape, tensor.dtype) for tensor in tensors]
    arrays = kernels.unchunk(chunks, specs, threads=threads)
    for array, other in zip(arrays, reference.unchunk(expected, specs), strict=True):
        assert array.tobytes() == other.tobytes()


@EIGHT_OR_SIXTEEN_BITS
def test_every_narrow_number_is_widened_exactly(isa: str, dtype: np.dtype[Any]) -> None:
    numbers = every_pattern(dtype)
    chunks, _ = kernels.flatten_chunk([numbers], numbers.size)
    assert chunks.tobytes() == reference.flatten_chunk([numbers], numbers.size)[0].tobytes()
    ordinary = ~np.isnan(numbers.astype(np.float32))
    assert chunks[0][ordinary].tobytes() == numbers.astype(np.float32)[ordinary].tobytes()
    assert np.isnan(chunks[0][~ordinary]).all()


@EIGHT_OR_SIXTEEN_BITS
def test_every_halfway_point_is_rounded_to_even(isa: str, dtype: np.dtype[Any]) -> None:
    points = halfway_points(dtype)
    points = np.concatenate([points, -points])
    specs = [(points.shape, dtype)]
    (rounded,) = kernels.unchunk(points[None], specs)
    assert rounded.tobytes() == reference.unchunk(points[None], specs)[0].tobytes()
    with np.errstate(all="ignore"):
        assert rounded.tobytes() == points.astype(dtype).tobytes()


@pytest.mark.parametrize("dtype", FLOAT_DTYPES, ids=str)
def test_nan_and_infinity_rules(isa: str, dtype: np.dtype[Any]) -> None:
    bits = np.array([0x7F800001, 0xFFC12345, 0x7F800000, 0xFF7FFFFF], np.uint32)
    (array,) = kernels.unchunk(bits.view(np.float32)[None], [((4,), dtype)])
    expected = {
        "float64": (0x7FF8000020000000, 0xFFF82468A0000000, 0x7FF0000000000000, 0xC7EFFFFFE0000000),
        "float32": (0x7F800001, 0xFFC12345, 0x7F800000, 0xFF7FFFFF),
        "float16": (0x7E00, 0xFE00, 0x7C00, 0xFC00),
        "bfloat16": (0x7FC0, 0xFFC0, 0x7F80, 0xFF80),
        "float8_e5m2": (0x7E, 0xFE, 0x7C, 0xFC),
        "float8_e4m3fn": (0x7F, 0xFF, 0x7F, 0xFF),
    }[dtype.name]
    assert tuple(array.view(f"u{dtype.itemsize}").tolist()) == expected


def test_float64_nans_keep_the_top_of_their_payload(isa: str) -> None:
    bits = np.array([0x7FF0000000000001, 0xFFF4000020000000, 0x7FFFFFFFFFFFFFFF], np.uint64)
    chunks, _ = kernels.flatten_chunk([bits.view(np.float64)], 3)
    assert chunks.view(np.uint32).tolist() == [[0x7FC00000, 0xFFE00001, 0x7FFFFFFF]]


def test_flatten_chunk_fills_the_given_array(isa: str) -> None:
    tensors: list[npt.NDArray[Any]] = [
        np.arange(5, dtype=np.float32),
        np.full((2, 3), 7, np.float16),
    ]
    out = np.full((3, 4), np.nan, np.float32)
    chunks, padding = kernels.flatten_chunk(tensors, 4, out=out)
    assert padding == 1
    assert np.shares_memory(chunks, out)
    assert out.tolist() == [[0, 1, 2, 3], [4, 7, 7, 7], [7, 7, 7, 0]]


def test_unchunk_fills_the_given_arrays(isa: str) -> None:
    values = np.arange(6, dtype=np.float32)
    specs = [((2, 2), np.dtype(np.float32)), ((1,), np.dtype(np.float16))]
    out: list[npt.NDArray[Any]] = [np.full(shape, np.nan, dtype) for shape, dtype in specs]
    arrays = kernels.unchunk(values[None], specs, out=out)
    assert all(array is given for array, given in zip(arrays, out, strict=True))
    assert [array.tolist() for array in out] == [[[0, 1], [2, 3]], [4]]


@pytest.mark.parametrize(
    "out",
    [
        [],
        [np.empty(4, np.float32)],
        [np.empty((2, 2), np.float16)],
        [np.empty((2, 4), np.float32)[:, ::2]],
        [np.frombuffer(bytes(16), np.float32).reshape(2, 2)],
    ],
    ids=["too few", "another shape", "another dtype", "not contiguous", "read-only"],
)
def test_unchunk_refuses_arrays_that_do_not_fit(out: list[npt.NDArray[Any]]) -> None:
    with pytest.raises(ValueError, match=r"out|writ"):
        kernels.unchunk(np.ones((1, 4), np.float32), [((2, 2), np.dtype(np.float32))], out=out)


def test_nothing_gives_no_chunks(isa: str) -> None:
    chunks, padding = kernels.flatten_chunk([], 5)
    assert chunks.shape == (0, 5)
    assert padding == 0
    assert kernels.unchunk(chunks, []) == []


def test_unusable_arguments_are_refused() -> None:
    ones = np.ones(3, np.float32)
    with pytest.raises(ValueError, match="chunk"):
        kernels.flatten_chunk([ones], 0)
    with pytest.raises(ValueError, match="float dtype"):
        kernels.flatten_chunk([ones.astype(np.int32)], 4)
    with pytest.raises(ValueError, match="out"):
        kernels.flatten_chunk([ones], 4, out=np.empty((2, 4), np.float32))
    with pytest.raises(ValueError, match="fewer elements"):
        kernels.unchunk(ones[None], [((4,), np.dtype(np.float32))])
    with pytest.raises(ValueError, match="float dtype"):
        kernels.unchunk(ones[None], [((3,), np.dtype(np.int32))])
