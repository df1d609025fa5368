"""Groups of tensors that one decoder changes, given a member's latents (format.md, Fleet)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.codecs.segments import choose_segments
from vaecomp_native.decoders import IntegerDecoder

Float32Array = npt.NDArray[np.float32]
Int8Array = npt.NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Group:
    """Tensors by name and shape, and the decoder that changes them.

    The decoder's outputs, chunk after chunk, are what is added to the tensors' elements, one behind
    another. Its inputs are the latents of `slices` (first, count), and behind them the chunk's row
    of `position`, int8 [K, Q].
    """

    decoder: IntegerDecoder
    slices: Sequence[tuple[int, int]]
    shapes: Mapping[str, tuple[int, ...]]
    position: Int8Array

    def inputs(self, latents: Int8Array) -> Int8Array:
        """What the decoder takes for a member's latents int8 [L]: int8 [K, inputs]."""
        own = np.concatenate([latents[first : first + count] for first, count in self.slices])
        return np.concatenate([np.tile(own, (len(self.position), 1)), self.position], axis=1)

    def added(self, latents: Int8Array, threads: int = 0) -> dict[str, Float32Array]:
        """What the decoder adds to each of its tensors, to the last bit as archives do."""
        flat = self.decoder.forward(self.inputs(latents), threads=threads).reshape(-1)
        result: dict[str, Float32Array] = {}
        for name, shape in self.shapes.items():
            size = math.prod(shape)
            result[name] = flat[:size].reshape(shape)
            flat = flat[size:]
        return result

    def section(self) -> bytes:
        """The decoder as a section, with frequency tables that change where it pays."""
        layers = self.decoder.layers
        return _core.encode_integer_decoder(
            [layer.arrays() for layer in layers],
            [choose_segments(layer.weight) for layer in layers],
        )
