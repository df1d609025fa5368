"""Decoders: the layers that an archive stores, and their native evaluation.

A decoder turns latents `[K, L]` into chunk values, float32 `[K, C]`. Sections 3 and 4 of
docs/kernels.md give the arithmetic.
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
    """One int8 layer. A hidden layer has `multiplier` and `shift`, the last layer has `scale`.

    Attributes:
        weight: int8 [out, in].
        bias: int32 [out].
        multiplier: int32 [out], 0 to 2^31 - 1.
        shift: uint8 [out], 0 to 62.
        scale: float32 [out].
    """

    weight: Int8Array
    bias: Int32Array
    multiplier: Int32Array | None = None
    shift: UInt8Array | None = None
    scale: Float32Array | None = None

    def arrays(self) -> tuple[npt.NDArray[np.generic], ...]:
        """Return the layer's arrays, without those that are None, in the native order."""
        found = (self.weight, self.bias, self.multiplier, self.shift, self.scale)
        return tuple(array for array in found if array is not None)


@dataclass(frozen=True, eq=False)
class Float32Layer:
    """One float32 layer: weight [out, in] and bias [out].

    A ReLU follows every layer but the last.
    """

    weight: Float32Array
    bias: Float32Array


Layer = TypeVar("Layer", IntegerLayer, Float32Layer)


@dataclass(frozen=True, eq=False)
class _Decoder(Generic[Layer]):
    """The common part of both kinds of decoders: layers in the order of evaluation."""

    layers: tuple[Layer, ...]

    @property
    def latent(self) -> int:
        """The number of values in a chunk's latent, L."""
        return int(self.layers[0].weight.shape[1])

    @property
    def chunk_length(self) -> int:
        """The number of values in a chunk, C."""
        return int(self.layers[-1].weight.shape[0])

    @property
    def parameters(self) -> int:
        """The number of weights and biases, which is how papers count parameters."""
        return sum(layer.weight.size + layer.bias.size for layer in self.layers)


class IntegerDecoder(_Decoder[IntegerLayer]):
    """A decoder from int8 latents to float32 chunks in integer arithmetic.

    It gives the same bytes on every machine. The first use raises ValueError if the layers do not
    fit together.
    """

    @cached_property
    def _native(self) -> _core.IntegerDecoder:
        return _core.IntegerDecoder([layer.arrays() for layer in self.layers])

    def forward(
        self, latents: Int8Array, *, out: Float32Array | None = None, threads: int = 0
    ) -> Float32Array:
        """Decode int8 latents `[K, L]` to float32 `[K, C]`.

        The result is a new array, or `out`, which must be C-contiguous and share no memory with the
        latents. Raises ValueError if the shape of either does not fit.
        """
        return self._native.forward(latents, out, threads)


class Float32Decoder(_Decoder[Float32Layer]):
    """A decoder from float32 latents to float32 chunks by fused multiply-adds in a fixed order.

    It is there for comparison with the paper (Cheng et al. 2024).
    """

    @cached_property
    def _native(self) -> _core.Float32Decoder:
        return _core.Float32Decoder([(layer.weight, layer.bias) for layer in self.layers])

    def forward(
        self, latents: Float32Array, *, out: Float32Array | None = None, threads: int = 0
    ) -> Float32Array:
        """Decode float32 latents `[K, L]` to float32 `[K, C]`.

        The result is a new array, or `out`, which must be C-contiguous and share no memory with the
        latents. Raises ValueError if the shape of either does not fit.
        """
        return self._native.forward(latents, out, threads)
