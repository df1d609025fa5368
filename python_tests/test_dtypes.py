"""The dtypes that archives hold, and what stands for them in NumPy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vaecomp_native as vc
from vaecomp_native import _core, reference
from vaecomp_native.codecs.assembly import assemble
from vaecomp_native.codecs.lossless import encode_lossless
from vaecomp_native.codecs.sections import encode_raw
from vaecomp_native.errors import WeightsError
from vaecomp_native.reference import dtypes as specified
from vaecomp_native.state_dict import read_state_dict

from .samples import DTYPES, LAYOUTS, any_bits, generators, with_layout

NAMES = _core.dtype_names()


def test_the_reference_has_the_same_table() -> None:
    assert tuple(NAMES) == specified.DTYPES
    for name, dtype in zip(NAMES, DTYPES, strict=True):
        assert dtype == specified.numpy_dtype(name)
        assert dtype.isnative


@pytest.mark.parametrize("order", "=<>S")
@pytest.mark.parametrize("dtype", DTYPES, ids=_core.dtype_name)
def test_names_are_those_of_any_byte_order(dtype: np.dtype[Any], order: Any) -> None:
    name = _core.dtype_name(dtype.newbyteorder(order))
    assert name == specified.dtype_name(dtype.newbyteorder(order))
    assert _core.numpy_dtype(name) == dtype


@pytest.mark.parametrize("platform", ["longlong", "ulonglong", "long", "intc", "half"])
def test_names_of_types_that_the_platform_names(platform: str) -> None:
    assert _core.dtype_name(np.dtype(platform)) == np.dtype(platform).name


@pytest.mark.parametrize(
    "dtype",
    [
        *("datetime64[s]", "U3", "V3", "O", "longdouble", []),
        *([("x", "f4")], [("int4", "u1")], [("real", "f4"), ("imag", "f4")]),
        *([("real", "f2"), ("imag", "f2"), ("more", "f2")], [("float32", "f4")]),
        # Its name is one of the archive's, its elements are others.
        *(ml_dtypes.int4, ml_dtypes.float4_e2m1fn, ml_dtypes.float8_e4m3),
    ],
    ids=str,
)
def test_other_dtypes_are_named(dtype: npt.DTypeLike) -> None:
    array = np.zeros(2, dtype)
    with pytest.raises(ValueError, match=r"dtype .* is not supported") as caught:
        _core.dtype_name(array.dtype)
    assert str(array.dtype) in str(caught.value)
    with pytest.raises(ValueError, match="archives have no dtype"):
        specified.dtype_name(array.dtype)
    with pytest.raises(WeightsError, match=r"'w' .* archives cannot hold"):
        read_state_dict({"w": array})


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(ValueError, match="archives have no dtype 'float7'"):
        _core.numpy_dtype("float7")


@given(generators, st.sampled_from(DTYPES), st.sampled_from(LAYOUTS), st.sampled_from([0, 7, 4200]))
@pytest.mark.parametrize("encode", [encode_raw, encode_lossless])
def test_any_bits_in_any_layout_come_back(
    encode: Any, rng: np.random.Generator, dtype: np.dtype[Any], layout: str, columns: int
) -> None:
    array = with_layout(any_bits(rng, dtype, (3, columns)), layout)
    state = read_state_dict({"w": array})
    data = assemble(state, [encode(state.arrays)])
    expected = array.astype(dtype).tobytes()
    for decode in (vc.decode, reference.decode):
        decoded = decode(data)["w"]
        assert (decoded.dtype, decoded.shape) == (dtype, array.shape)
        assert decoded.tobytes() == expected
    with vc.open(data) as archive:
        assert archive.info.tensors[0].dtype == _core.dtype_name(dtype)
        assert archive.rows("w", 1, 3).tobytes() == array[1:3].astype(dtype).tobytes()
        archive.verify()


@pytest.mark.parametrize("codec", ["quantized", "vae", "auto"])
def test_what_no_lossy_codec_understands_is_exact(tmp_path: Path, codec: Any) -> None:
    if codec == "vae":
        pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    arrays = {
        _core.dtype_name(dtype): any_bits(rng, dtype, (6, 40))
        for dtype in DTYPES
        if _core.dtype_name(dtype) not in ("float16", "bfloat16", "float32", "float64")
    }
    arrays["mixed"] = rng.standard_normal((6, 40)).astype(np.float32)
    path = tmp_path / "w.vaec"
    vc.compress(arrays, path, codec=codec, vae=vc.VaeConfig(epochs=1))
    decoded = vc.decode(path)
    del arrays["mixed"]
    for name, array in arrays.items():
        assert decoded[name].dtype == array.dtype
        assert decoded[name].tobytes() == array.tobytes(), name


ALONE = """
import sys
import vaecomp_native
assert "ml_dtypes" not in sys.modules, "it would be imported anyhow"
path, name = sys.argv[1:]
vaecomp_native.verify(path)
with vaecomp_native.open(path) as archive:
    assert str(archive.info.tensors[0].dtype) == name
    arrays = [archive.rows("w", 0, 2), archive["w"], vaecomp_native.decode(path)["w"]]
sys.stdout.buffer.write(b"".join(array.tobytes() for array in arrays))
"""


@pytest.mark.parametrize("dtype", DTYPES, ids=_core.dtype_name)
def test_a_process_that_imports_nothing_else_reads_it(tmp_path: Path, dtype: np.dtype[Any]) -> None:
    array = any_bits(np.random.default_rng(5), dtype, (3, 4))
    path = tmp_path / "w.vaec"
    vc.compress({"w": array}, path, codec="lossless")
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(path), _core.dtype_name(dtype)],
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == array[:2].tobytes() + 2 * array.tobytes()
