"""Safetensors files: read in place or by tensor, written tensor by tensor.

The library of this name maps whole files and writes what is in memory. So headers are read and
written here, as its documentation of the format says, and tests compare both.
"""

from __future__ import annotations

import json
import math
import mmap
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.errors import VaecompError, WeightsError
from vaecomp_native.io import sinks, strict_json
from vaecomp_native.io.checkpoints.base import Checkpoint
from vaecomp_native.io.checkpoints.stored import Form, Place

Array = npt.NDArray[Any]

DTYPES = {
    "U64": "uint64",
    "I64": "int64",
    "F64": "float64",
    "C64": "complex64",
    "F32": "float32",
    "U32": "uint32",
    "I32": "int32",
    "BF16": "bfloat16",
    "F16": "float16",
    "U16": "uint16",
    "I16": "int16",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I8": "int8",
    "U8": "uint8",
    "F4": "float4_e2m1fn_x2",
    "BOOL": "bool",
}
"""The archive's dtype for each dtype of a header, in the order in which files hold them."""
CODES = {dtype: code for code, dtype in DTYPES.items()}
PAIRS = "float4_e2m1fn_x2"
"""The dtype with two numbers per element. A safetensors header counts numbers instead."""
SIZE_BYTES = 8
"""The bytes of the file's first field, which is the size of the header after it."""
LARGEST_HEADER = 100_000_000
"""The largest header that readers of such files accept."""
LARGEST_TENSOR = 1 << 62
"""The largest product of a tensor's lengths other than 0."""
METADATA = "__metadata__"


def is_start(start: bytes) -> bool:
    """Whether a file's first bytes are those of a safetensors file: a header's size and a ``{``."""
    size = int.from_bytes(start[:SIZE_BYTES], "little")
    return 0 < size < 1 << 32 and start[SIZE_BYTES : SIZE_BYTES + 1] == b"{"


def read(path: Path) -> Checkpoint:
    """Read a safetensors file and its metadata; the arrays lie in the mapped file.

    Raises WeightsError for a malformed file or a dtype that archives cannot hold, and OSError.
    """
    found = find(path)
    with path.open("rb") as opened:
        mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    arrays = {name: _mapped(mapped, place) for name, place in found.tensors.items()}
    return Checkpoint(arrays, found.metadata, found.files)


def find(path: Path) -> Checkpoint:
    """The same with the tensors' places, without reading them."""
    with path.open("rb") as file:
        content, begin = _read_header(path, file)
        size = os.fstat(file.fileno()).st_size
    metadata = content.pop(METADATA, None) or {}
    if not _is_text(metadata):
        raise _damaged(path, "its metadata are no map of texts")
    places: dict[str, Place] = {}
    end = begin
    for name, entry, (first, last) in sorted(_entries(path, content), key=lambda one: one[2]):
        dtype, shape = _layout(path, name, entry)
        place = Place(shape, dtype, path, begin + first)
        # The tensors fill the file without gaps.
        if place.offset != end or last - first != place.nbytes:
            raise _damaged(path, f"the bytes of tensor '{name}' do not fit its shape and place")
        places[name] = place
        end += place.nbytes
    if end != size:
        raise _damaged(path, f"it has {size:,} bytes, and its header tells of {end:,}")
    return Checkpoint({name: places[name] for name in sorted(places)}, metadata, files=(path,))


def write(
    forms: Mapping[str, Form],
    arrays: Iterable[tuple[str, Array]],
    out: sinks.Sink,
    metadata: Mapping[str, str],
) -> None:
    """Write a safetensors file to a path, a URL or a file object, in the way of `sinks.filling`.

    `forms` tell the measures of each tensor. `arrays` gives each of them once, in any order.
    Raises VaecompError for a dtype that safetensors files cannot hold, and OSError. The message
    names the tensor.
    """
    header, offsets, size = _make_header(forms, metadata)
    with sinks.filling(out) as path, path.open("r+b") as file:
        sinks.reserve(file, size)
        file.write(header)
        for name, array in arrays:
            file.seek(offsets[name])
            little = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
            if little.nbytes:
                file.write(little.reshape(-1).view(np.uint8).data)


def check_dtypes(forms: Mapping[str, Form]) -> None:
    """Raise VaecompError for a tensor whose dtype no header can name."""
    for name, form in forms.items():
        dtype = _core.dtype_name(form.dtype)
        if dtype not in CODES:
            raise VaecompError(
                f"safetensors cannot hold tensor '{name}' of dtype {dtype}; leave it out with "
                "--tensor or use vaecomp_native.decode"
            )


def _make_header(
    forms: Mapping[str, Form], metadata: Mapping[str, str]
) -> tuple[bytes, dict[str, int], int]:
    """Make a file's first bytes. Returns also where each tensor begins, and the file's size."""
    check_dtypes(forms)
    order = list(CODES)
    names = sorted(forms, key=lambda name: (order.index(_core.dtype_name(forms[name].dtype)), name))
    content: dict[str, Any] = {METADATA: dict(sorted(metadata.items()))} if metadata else {}
    first: dict[str, int] = {}
    end = 0
    for name in names:
        dtype, shape = _core.dtype_name(forms[name].dtype), list(forms[name].shape)
        first[name] = end
        end += forms[name].nbytes
        if dtype == PAIRS:
            shape[-1:] = [2 * shape[-1]] if shape else [2]
        content[name] = {"dtype": CODES[dtype], "shape": shape, "data_offsets": [first[name], end]}
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % SIZE_BYTES)
    begin = SIZE_BYTES + len(text)
    header = len(text).to_bytes(SIZE_BYTES, "little") + text
    return header, {name: begin + offset for name, offset in first.items()}, begin + end


def _read_header(path: Path, file: BinaryIO) -> tuple[dict[str, Any], int]:
    """Read a file's header. Returns also the offset of the bytes behind it."""
    size = int.from_bytes(file.read(SIZE_BYTES), "little")
    if size > LARGEST_HEADER:
        raise _damaged(path, f"its header would have {size:,} bytes")
    text = file.read(size)
    if len(text) < size:
        raise _damaged(path, "it ends within its header")
    try:
        content = strict_json.parse(text.decode())
    except ValueError as error:
        raise _damaged(path, f"its header is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise _damaged(path, "its header is no map of tensors")
    return content, SIZE_BYTES + size


def _entries(
    path: Path, content: Mapping[str, Any]
) -> Iterable[tuple[str, Mapping[str, Any], tuple[int, int]]]:
    """Yield the name of each tensor, what the header says of it, and its first and last bytes."""
    for name, entry in content.items():
        known = isinstance(entry, dict) and isinstance(entry.get("dtype"), str)
        if not (known and _are_sizes(entry.get("shape")) and _are_sizes(entry.get("data_offsets"))):
            raise _damaged(path, f"its header does not describe tensor '{name}'")
        if len(entry["data_offsets"]) != 2:
            raise _damaged(path, f"tensor '{name}' has no two offsets")
        first, last = entry["data_offsets"]
        yield name, entry, (first, last)


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(one) is int and one >= 0 for one in values)


def _is_text(metadata: Any) -> bool:
    return isinstance(metadata, dict) and all(isinstance(one, str) for one in metadata.values())


def _damaged(path: Path, problem: str) -> WeightsError:
    return WeightsError(f"{path}: not an intact safetensors file: {problem}")


def _layout(
    path: Path, name: str, entry: Mapping[str, Any]
) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return the dtype and shape of an array that a header describes. Raises WeightsError."""
    known, shape = DTYPES.get(entry["dtype"]), entry["shape"]
    if known is None:
        raise WeightsError(
            f"{path}: tensor '{name}' has dtype {entry['dtype']}, which neither archives nor "
            "PyTorch can hold; convert it, or leave it out"
        )
    lengths = list(shape)
    if math.prod(filter(None, lengths)) >= LARGEST_TENSOR:
        raise _damaged(path, f"tensor '{name}' has the shape {shape}")
    if known == PAIRS:
        if not lengths or lengths[-1] % 2:
            raise WeightsError(
                f"{path}: tensor '{name}' has {shape} numbers of 4 bits, which are not whole "
                "bytes; pad its last dimension"
            )
        lengths[-1] //= 2
    dtype = _core.numpy_dtype(known)
    return (dtype.newbyteorder("<") if dtype.isnative else dtype), tuple(lengths)


def _mapped(mapped: mmap.mmap, place: Place) -> Array:
    if not place.size:
        return np.empty(place.shape, place.dtype)
    array = np.frombuffer(mapped, place.dtype, place.size, place.offset).reshape(place.shape)
    # A header need not end at a multiple of the elements' size.
    return array if array.flags.aligned else array.copy()
