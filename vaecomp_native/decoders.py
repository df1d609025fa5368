"""Decoders as data: the layers that an archive stores, and their native evaluation.

Shapes: latents `[K, L]` go in, chunk values float32 `[K, C]` come out. Arithmetic: docs/kernels.md, 3 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from vaecomp_native import _core

Float32Array = npt.NDArray[np.float32]
Int8Array = npt.NDArray[np.int8]
Int32Array = npt.NDArray[np.int32]
UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """One int8 layer: hidden layers have `multiplier` and `shift`, the last one `scale`.

    weight int8 [out, in], bias int32 [out], multiplier int32 [out] in 0 to 2^31 - 1, shift uint8 [out] in 0 to 62, scale float32 [out].
    """

    weight: Int8Array
    bias: Int32Array
    multiplier: Int32Array | None = None
    shift: UInt8Array | None = None
    scale: Float32Array | None = None

    def arrays(self) -> tuple[npt.NDArray[np.generic], ...]:
        """The arrays that are there, in the order in which the native side takes them."""
        found = (self.weight, self.bias, self.multiplier, self.shift, self.scale)
        return tuple(array for array in found if array is not None)


@dataclass(frozen=True, eq=False)
class Float32Layer:
    """One float32 layer: weight [out, in], bias [out]; ReLU behind every layer but the last."""

    weight: Float32Array
    bias: Float32Array


Layer = TypeVar("Layer", IntegerLayer, Float32Layer)


@dataclass(frozen=True, eq=False)
class _Decoder(Generic[Layer]):
    """What decoders of both kinds have in common: layers in the order of evaluation."""

    layers: tuple[Layer, ...]

    @property
    def latent(self) -> int:
        """Numbers a chunk's latent has."""
        return int(self.layers[0].weight.shape[1])

    @property
    def chunk_length(self) -> int:
        """Values a chunk has."""
        return int(self.layers[-1].weight.shape[0])

    @property
    def parameters(self) -> int:
        """How many weights and biases the decoder has, as papers count them."""
        return sum(layer.weight.size + layer.bias.size for layer in self.layers)


class IntegerDecoder(_Decoder[IntegerLayer]):
    """int8 latents to float32 chunks with integer arithmetic; the same bytes on every machine.

    Raises ValueError, on first use, if the layers do not fit together.
    """

    @cached_property
    def _native(self) -> _core.IntegerDecoder:
        return _core.IntegerDecoder([layer.arrays() for layer in self.layers])

    def forward(
        self, latents: Int8Array, *, out: Float32Array | None = None, threads: int = 0
    ) -> Float32Array:
        """Decode int8 latents `[K, L]` to float32 `[K, C]`: a new array, or `out`, C-contiguous and apart from the latents.

        Raises ValueError for another shape of either.
        """
        return self._native.forward(latents, out, threads)


class Float32Decoder(_Decoder[Float32Layer]):
    """float32 latents to float32 chunks by ordered fused multiply-adds; for comparison with the paper."""

    @cached_property
    def _native(self) -> _core.Float32Decoder:
        return _core.Float32Decoder([(layer.weight, layer.bias) for layer in self.layers])

    def forward(
        self, latents: Float32Array, *, out: Float32Array | None = None, threads: int = 0
    ) -> Float32Array:
        """Decode float32 latents `[K, L]` to float32 `[K, C]`: a new array, or `out`, C-contiguous and apart from the latents.

        Raises ValueError for another shape of either.
        """
        return self._native.forward(latents, out, threads)
