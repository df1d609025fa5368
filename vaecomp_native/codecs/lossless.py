"""The codec of tensors that must come back bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.codecs.sections import EncodedTensors, encode_raw

Array = npt.NDArray[Any]


def encode_lossless(arrays: Mapping[str, Array], *, threads: int = 0) -> EncodedTensors:
    """Split floats and entropy-code the byte planes that gain from it (format.md, Lossless)."""
    native = {
        name: np.asarray(array, order="C", dtype=array.dtype.newbyteorder("="))
        for name, array in arrays.items()
    }
    section = _core.encode_lossless(list(native.values()), threads)
    return EncodedTensors([("lossless", section)], native)


def encode_exact(arrays: Mapping[str, Array], *, threads: int = 0) -> EncodedTensors:
    """Encode as raw or lossless, whichever is smaller. Raw wins for a few small tensors."""
    lossless = encode_lossless(arrays, threads=threads)
    return min(encode_raw(arrays), lossless, key=EncodedTensors.size)
