"""Inputs for the kernels' tests: arbitrary and adversarial bit patterns in all layouts."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from vaecomp_native import _core

Array = npt.NDArray[Any]

DTYPES: tuple[np.dtype[Any], ...] = tuple(map(_core.numpy_dtype, _core.dtype_names()))
"""All that archives hold."""

FLOAT_DTYPES: tuple[np.dtype[Any], ...] = tuple(
    np.dtype(scalar)
    for scalar in (
        *(np.float64, np.float32, np.float16),
        *(ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2),
    )
)
LAYOUTS = (
    *("contiguous", "fortran", "reversed", "sliced", "repeated"),
    *("byte-swapped", "unaligned", "read-only"),
)
THREADS = (1, 2, 3)

_SPECIAL_FLOAT32 = np.array(
    [
        *(0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007FFFFF, 0x00800000),  # 0, subnormals
        *(0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000),  # the largest finite numbers, infinities
        *(0x7F800001, 0xFFBFFFFF, 0x7FC00000, 0xFFC00001, 0x7FFFFFFF, 0xFFFFFFFF),  # NaNs
        *(
            0x477FE000,
            0x477FEFFF,
            0x477FF000,
            0x43E00000,
            0x43E80000,
            0x43E80001,
        ),  # float16, e4m3fn
        *(
            0x33000000,
            0x33000001,
            0x387FC000,
            0x387FE000,
            0x3A800000,
            0x37800000,
        ),  # narrow subnormals
    ],
    np.uint32,
)
_SPECIAL_FLOAT64 = np.array(
    [
        *(0x7FF0000000000001, 0xFFF7FFFFFFFFFFFF, 0x7FF8000000000000, 0xFFFFFFFFFFFFFFFF),  # NaNs
        *(0x47EFFFFFEFFFFFFF, 0x47EFFFFFF0000000, 0xC7EFFFFFE0000001),  # around float32's overflow
        *(
            0x3690000000000000,
            0x3690000000000001,
            0x36A8000000000000,
            0x0000000000000001,
        ),  # subnormals
        *(
            0x3FF0000010000000,
            0x3FF0000030000000,
            0x3FF0000010000001,
        ),  # halfway between float32 numbers
    ],
    np.uint64,
)

generators = st.builds(np.random.default_rng, st.integers(0, 2**32 - 1))


def special_values(dtype: np.dtype[Any]) -> Array:
    """Zeros, subnormals, extremes, halfway cases, infinities and NaNs of a floating-point dtype."""
    with np.errstate(all="ignore"):
        converted = _SPECIAL_FLOAT32.view(np.float32).astype(dtype)
    if dtype == np.float64:
        return np.concatenate([_SPECIAL_FLOAT64.view(np.float64), converted])
    return _SPECIAL_FLOAT32.view(np.float32) if dtype == np.float32 else converted


def float_values(rng: np.random.Generator, dtype: np.dtype[Any], size: int) -> Array:
    """A third each of normal deviates, arbitrary bit patterns and special values, shuffled."""
    unsigned = f"u{dtype.itemsize}"
    kinds = (
        rng.standard_normal(size).astype(dtype).view(unsigned),
        np.frombuffer(rng.bytes(size * dtype.itemsize), unsigned),
        rng.choice(special_values(dtype).view(unsigned), size),
    )
    return np.asarray(np.choose(rng.integers(0, 3, size), kinds).view(dtype))


def any_bits(rng: np.random.Generator, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """Any bit patterns that an archive keeps of a dtype."""
    if dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(dtype)
    size = int(np.prod(shape))
    return np.frombuffer(rng.bytes(size * dtype.itemsize), dtype).reshape(shape).copy()


def with_layout(array: Array, layout: str) -> Array:
    """The same shape, and the same elements unless the layout repeats them, in another layout."""
    return np.asarray(_with_layout(array, layout))


def _with_layout(array: Array, layout: str) -> Array:
    if layout == "fortran":
        return np.asfortranarray(array)
    if layout == "reversed":
        return np.flip(np.flip(array).copy())
    if layout == "sliced":
        wide = np.zeros((*array.shape, 3), array.dtype)
        wide[..., 1] = array
        return wide[..., 1]
    if layout == "repeated" and array.ndim:
        return np.broadcast_to(array[..., :1], array.shape)
    if layout == "byte-swapped":
        return np.asarray(array.byteswap().view(array.dtype.newbyteorder("S")))
    if layout == "unaligned":
        raw = np.frombuffer(b"\0" + array.tobytes(), np.uint8)[1:]
        return np.asarray(raw.view(array.dtype).reshape(array.shape))
    if layout == "read-only":
        array.flags.writeable = False
    return array


@st.composite
def float_arrays(draw: st.DrawFn) -> Array:
    """A floating-point tensor of any dtype, layout and shape; some are empty, some large."""
    rng = draw(generators)
    lengths = st.one_of(st.integers(0, 5), st.sampled_from([1, 7, 16, 17, 33, 64]))
    shape = draw(
        st.one_of(
            st.lists(lengths, max_size=4), st.lists(st.integers(100, 5000), min_size=1, max_size=1)
        )
    )
    dtype = draw(st.sampled_from(FLOAT_DTYPES))
    values = float_values(rng, dtype, int(np.prod(shape))).reshape(shape)
    return with_layout(values, draw(st.sampled_from(LAYOUTS)))
