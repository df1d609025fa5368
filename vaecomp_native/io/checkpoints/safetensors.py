"""Safetensors files: read in place, written from arrays."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.errors import VaecompError, WeightsError
from vaecomp_native.io import sinks
from vaecomp_native.io.checkpoints.base import Checkpoint
from vaecomp_native.io.urls import is_url, plain

Array = npt.NDArray[Any]

DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "F4": "float4_e2m1fn_x2",
    "C64": "complex64",
}
"""Archives' names of the dtypes in a safetensors header."""
PAIRS = "float4_e2m1fn_x2"
"""Two numbers an element here; a safetensors header counts the numbers."""
SIZE_BYTES = 8
"""The file's first field: the size of the header that follows it."""
LARGEST_HEADER = 1 << 32


def is_start(start: bytes) -> bool:
    """Whether a file that begins so is a safetensors file: the size of a header, and a JSON object."""
    size = int.from_bytes(start[:SIZE_BYTES], "little")
    return 0 < size < LARGEST_HEADER and start[SIZE_BYTES : SIZE_BYTES + 1] == b"{"


def read(path: Path) -> Checkpoint:
    """Read a safetensors file: arrays that lie in the mapped file, and its metadata.

    Raises WeightsError for a malformed file, or a dtype that archives cannot hold, and OSError.
    """
    from safetensors import SafetensorError, safe_open

    with path.open("rb") as opened:
        header = int.from_bytes(opened.read(SIZE_BYTES), "little")
        try:
            # The library checks the header: its tensors fill the file without gaps, in this order.
            with safe_open(path, framework="np") as file:
                slices = [(name, file.get_slice(name)) for name in file.offset_keys()]
                layout = [(name, one.get_dtype(), one.get_shape()) for name, one in slices]
                names = file.keys()
                metadata = file.metadata() or {}
        except SafetensorError as error:
            raise WeightsError(f"{path}: no intact safetensors file: {error}") from error
        mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    arrays: dict[str, Array] = {}
    offset = SIZE_BYTES + header
    for name, code, shape in layout:
        dtype, lengths = _layout(path, name, code, shape)
        count = int(np.prod(lengths, dtype=np.int64))
        array = np.frombuffer(mapped, dtype, count, offset) if count else np.empty(0, dtype)
        arrays[name] = _aligned(array).reshape(lengths)
        offset += array.nbytes
    return Checkpoint({name: arrays[name] for name in names}, metadata, files=(path,))


def write(tensors: Mapping[str, Array], out: sinks.Sink, metadata: Mapping[str, str]) -> None:
    """Write `tensors` and `metadata` as a safetensors file to a path, a URL or a file object, as `sinks.write` does.

    Raises VaecompError for a dtype that safetensors files cannot hold, naming the tensor, and OSError.
    """
    from safetensors import SafetensorError, TensorSpec, serialize, serialize_file

    arrays = {name: _writable(name, array) for name, array in tensors.items()}
    entries = {
        name: TensorSpec(
            dtype=_core.dtype_name(array.dtype),
            shape=array.shape,
            data_ptr=array.ctypes.data,
            data_len=array.nbytes,
        )
        for name, array in arrays.items()
    }
    known = dict(metadata) or None
    try:
        if isinstance(out, (str, os.PathLike)) and not is_url(plain(out)):
            path = Path(plain(out))
            if not sinks.is_stream(path):
                with sinks.replacing(path) as temporary:
                    serialize_file(entries, temporary, known)
                return
        sinks.write(out, serialize(entries, known))
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is not None:  # a full disk, for example
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(out)) from error
        raise VaecompError(f"{out}: {error}") from error


def _layout(path: Path, name: str, code: str, shape: list[int]) -> tuple[np.dtype[Any], list[int]]:
    """The dtype and shape of an array that a header describes."""
    known = DTYPES.get(code)
    if known is None:
        raise WeightsError(
            f"{path}: tensor '{name}' has dtype {code}, which neither archives nor PyTorch can hold; "
            "convert it, or leave it out"
        )
    lengths = list(shape)
    if known == PAIRS:
        if not lengths or lengths[-1] % 2:
            raise WeightsError(
                f"{path}: tensor '{name}' has {shape} numbers of 4 bits, which are no whole bytes; "
                "pad its last dimension"
            )
        lengths[-1] //= 2
    dtype = _core.numpy_dtype(known)
    return dtype.newbyteorder("<") if dtype.isnative else dtype, lengths


def _aligned(array: Array) -> Array:
    # A header need not end at a multiple of the elements' size.
    return array if array.flags.aligned else array.copy()


def _writable(name: str, array: Array) -> Array:
    """The array in C order, little-endian. Raises VaecompError for a dtype that no header can name."""
    dtype = _core.dtype_name(array.dtype)
    if dtype not in DTYPES.values():
        raise VaecompError(
            f"safetensors cannot hold tensor '{name}' of dtype {dtype}; leave it out with --tensor "
            "or use vaecomp_native.decode"
        )
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
