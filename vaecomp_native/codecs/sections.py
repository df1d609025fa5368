"""The result of a codec: sections for the file, and the tensors that they decode to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
SectionKind = Literal[
    "raw",
    "latents",
    "integer_decoder",
    "float32_decoder",
    "quantized",
    "lossless",
    "fleet",
    "member",
    "differences",
]


@dataclass(frozen=True)
class EncodedTensors:
    """A codec's result for some tensors.

    `sections` are (kind, bytes) in file order. The tensors belong to the last one. `decoded` holds
    the tensors as the archive gives them back, by name. `history` is the training curve, empty
    without training.
    """

    sections: Sequence[tuple[SectionKind, bytes]]
    decoded: Mapping[str, Array]
    history: Sequence[Mapping[str, float]] = ()

    def size(self) -> int:
        """Bytes of all sections."""
        return sum(len(data) for _, data in self.sections)


def encode_raw(arrays: Mapping[str, Array]) -> EncodedTensors:
    """Store arrays as they are: little-endian, one behind another (format.md, Raw)."""
    native = {
        name: np.asarray(array, order="C", dtype=array.dtype.newbyteorder("="))
        for name, array in arrays.items()
    }
    little = (array.astype(array.dtype.newbyteorder("<"), copy=False) for array in native.values())
    return EncodedTensors([("raw", b"".join(array.tobytes() for array in little))], native)
