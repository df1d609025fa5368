"""Tensors of one value, of any size: no codec's own output may be out of proportion to its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vaecomp_native as vc
from vaecomp_native import _core
from vaecomp_native.kernels import digest
from vaecomp_native.state_dict import LATENT_DTYPES

from .samples import any_bits

NAMES = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128", "int64", "int4")
SHAPES = ((70_000,), (1500, 1500), (300, 20, 5, 5))


@pytest.mark.parametrize(
    ("name", "codec"),
    [*((name, "quantized") for name in NAMES), ("float64", "lossless")],
)
def test_zeros_come_back(tmp_path: Path, name: str, codec: Any) -> None:
    path = tmp_path / "one.vaec"
    dtype = _core.numpy_dtype(name)
    arrays = {f"zeros.{len(shape)}": np.zeros(shape, dtype) for shape in SHAPES}
    if name not in LATENT_DTYPES:
        value = any_bits(np.random.default_rng(2), dtype, (1,))
        arrays["value"] = np.broadcast_to(value, SHAPES[2])
    vc.compress(arrays, path, codec=codec)
    decoded = vc.decode(path)
    for key, array in arrays.items():
        assert decoded[key].dtype == dtype
        assert decoded[key].shape == array.shape
        assert decoded[key].tobytes() == array.tobytes()


@pytest.mark.parametrize("blocks", [1, 20, 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_symbols_of_any_number(blocks: int, dtype: Any) -> None:
    """What a quantized section makes of most: 131,072 float64 of 9 bytes."""
    symbols = np.zeros((1, blocks * 131_072), np.int8)
    section = _core.encode_quantized(0, [(symbols, 1.0, 0, None, None, None, None, None)])
    assert len(section) < 30 + 9 * blocks
    zeros = np.zeros(symbols.size, dtype)
    rows = [("w", "quantized", zeros.shape, zeros.dtype, 0, digest(zeros))]
    decoded = vc.decode(_core.write_archive([], [("quantized", section)], rows))
    assert not decoded["w"].any()
