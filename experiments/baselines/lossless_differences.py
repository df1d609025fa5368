"""Lossless codecs to compare with: zstd and zipnn, on float32 tensors alone or on what differs from tensors that are known.

A difference is taken bit by bit (XOR), or as that of integers that are in the floats' order, with the sign in the lowest bit (zigzag), so that small
differences have leading zeros. Names and shapes come from elsewhere and are not counted. Importing this
module does not import the packages.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
UInt32Array = npt.NDArray[np.uint32]
Form = Literal["xor", "integer"]
FORMS: tuple[Form, ...] = get_args(Form)

INSTALL = "pip install -r experiments/requirements.txt"
ZSTD_LEVEL = 19


@dataclass(frozen=True)
class Coder:
    """A compressor of 32-bit words; ``package`` is what it needs to be installed."""

    name: str
    package: str
    pack: Callable[[bytes], bytes]
    unpack: Callable[[bytes], bytes]

    @property
    def installed(self) -> bool:
        """Whether the package is there."""
        return importlib.util.find_spec(self.package) is not None

    @cached_property
    def version(self) -> str:
        """The installed package's version."""
        from importlib import metadata

        return metadata.version(self.package)


def encode(
    arrays: Mapping[str, Array], reference: Mapping[str, Array] | None, form: Form, coder: Coder
) -> bytes:
    """All float32 tensors, or with a ``reference`` with the same names and shapes what differs from it."""
    words = _words(arrays)
    if reference is not None:
        words = _difference(words, _words({name: reference[name] for name in arrays}), form)
    return coder.pack(words.tobytes())


def decode(
    data: bytes,
    reference: Mapping[str, Array] | None,
    form: Form,
    coder: Coder,
    shapes: Mapping[str, tuple[int, ...]],
) -> dict[str, Array]:
    """The tensors, bit for bit; ``shapes`` are theirs by name, in the order of the arrays that were encoded."""
    words = np.frombuffer(coder.unpack(data), np.uint32)
    if reference is not None:
        words = _sum(words, _words({name: reference[name] for name in shapes}), form)
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    parts = np.split(words.view(np.float32), np.cumsum(sizes)[:-1])
    return {
        name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }


def _words(arrays: Mapping[str, Array]) -> UInt32Array:
    wrong = [name for name, array in arrays.items() if array.dtype != np.float32]
    if wrong:
        raise ValueError(f"tensor '{wrong[0]}' is {arrays[wrong[0]].dtype}; float32 is needed")
    return np.concatenate([array.ravel().view(np.uint32) for array in arrays.values()])


def _difference(words: UInt32Array, reference: UInt32Array, form: Form) -> UInt32Array:
    if form == "xor":
        return words ^ reference
    signed = (_ordered(words) - _ordered(reference)).view(np.int32)
    return ((signed << 1) ^ (signed >> 31)).view(np.uint32)


def _sum(difference: UInt32Array, reference: UInt32Array, form: Form) -> UInt32Array:
    if form == "xor":
        return difference ^ reference
    sign: UInt32Array = np.negative(difference & np.uint32(1))
    signed: UInt32Array = (difference >> np.uint32(1)) ^ sign
    return _ordered(_ordered(reference) + signed)


def _ordered(words: UInt32Array) -> UInt32Array:
    """Two's complement integers in the order of the floats; its own inverse."""
    negative = (words.view(np.int32) >> 31).view(np.uint32)
    ordered: UInt32Array = words ^ (negative >> np.uint32(1))
    return ordered


def _planes(data: bytes) -> bytes:
    """First bytes of all words, then all second ones, and so on."""
    return _transposed(np.frombuffer(data, np.uint8).reshape(-1, 4))


def _from_planes(data: bytes) -> bytes:
    return _transposed(np.frombuffer(data, np.uint8).reshape(4, -1))


def _transposed(matrix: npt.NDArray[np.uint8]) -> bytes:
    return np.ascontiguousarray(matrix.T).tobytes()


def _zstd(data: bytes) -> bytes:
    import zstandard

    packed: bytes = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(data)
    return packed


def _unzstd(data: bytes) -> bytes:
    import zstandard

    unpacked: bytes = zstandard.ZstdDecompressor().decompress(data)
    return unpacked


def _zipnn() -> Any:
    with warnings.catch_warnings():
        # It imports parts of torch that are deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        package = importlib.import_module("zipnn")

    return package.ZipNN(input_format="byte", bytearray_dtype="float32")


CODERS: tuple[Coder, ...] = (
    Coder(f"zstd -{ZSTD_LEVEL}", "zstandard", _zstd, _unzstd),
    Coder(
        f"zstd -{ZSTD_LEVEL}, byte planes",
        "zstandard",
        lambda data: _zstd(_planes(data)),
        lambda data: _from_planes(_unzstd(data)),
    ),
    Coder(
        "zipnn",
        "zipnn",
        lambda data: bytes(_zipnn().compress(bytearray(data))),
        lambda data: bytes(_zipnn().decompress(data)),
    ),
)
