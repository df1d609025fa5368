"""The codec of tensors that must come back bit for bit: entropy-coded byte planes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.codecs.sections import EncodedTensors, encode_raw

Array = npt.NDArray[Any]


def encode_lossless(arrays: Mapping[str, Array]) -> EncodedTensors:
    """Entropy-code the byte planes that gain from it (format.md, Lossless)."""
    native = {
        name: np.asarray(array, order="C", dtype=array.dtype.newbyteorder("="))
        for name, array in arrays.items()
    }
    return EncodedTensors([("lossless", _core.encode_lossless(list(native.values())))], native)


def encode_exact(arrays: Mapping[str, Array]) -> EncodedTensors:
    """Encode as raw or lossless, whichever is smaller. Raw wins for a few small tensors."""
    return min(encode_raw(arrays), encode_lossless(arrays), key=EncodedTensors.size)
