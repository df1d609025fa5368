"""The archive's dtypes (docs/format.md), and their dtypes in NumPy."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

DTYPES = (
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2"),
    *("complex64", "complex128", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"),
    *("float4_e2m1fn_x2", "complex32"),
    *(f"int{bits}" for bits in range(1, 8)),
    *(f"uint{bits}" for bits in range(1, 8)),
)
"""The dtypes' names by number."""
REAL_FLOATS = DTYPES[DTYPES.index("float16") : DTYPES.index("float8_e5m2") + 1]
"""The dtypes of tensors that can be made from float32 values."""
ROTATED = ("float16", "bfloat16", "float32", "float64", "complex32", "complex64", "complex128")
"""The dtypes whose items the lossless codec rotates by a bit."""


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return a dtype of NumPy or ``ml_dtypes``, or a structure where neither has one.

    Its byte order is native.
    """
    if name == "complex32":
        return np.dtype([("real", "f2"), ("imag", "f2")])
    if name == "float4_e2m1fn_x2" or name in DTYPES[DTYPES.index("int1") :]:
        return np.dtype([(name, "i1" if name.startswith("int") else "u1")])
    if name == "bfloat16" or name.startswith("float8"):
        dtype: np.dtype[Any] = np.dtype(getattr(importlib.import_module("ml_dtypes"), name))
        return dtype
    return np.dtype(name)


def dtype_name(dtype: np.dtype[Any]) -> str:
    """Return the archive's name of a NumPy dtype in any byte order.

    Raises ValueError if archives have no such dtype.
    """
    name: str = dtype.name
    if dtype.names:
        name = "complex32" if dtype.names[0] == "real" else dtype.names[0]
    if name not in DTYPES or numpy_dtype(name) != dtype.newbyteorder("="):
        raise ValueError(f"archives have no dtype {dtype}")
    return name


def halves(array: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """Return real and imaginary parts of complex numbers, [..., 2]; None for other numbers."""
    if array.dtype.names and array.dtype.names[0] == "real":
        return np.stack([array["real"], array["imag"]], axis=-1)
    return np.stack([array.real, array.imag], axis=-1) if array.dtype.kind == "c" else None
