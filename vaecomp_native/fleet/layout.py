"""A model as a vector: the tensors that a fleet's decoder changes, one behind another, in blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.errors import WeightsError
from vaecomp_native.state_dict import LATENT_DTYPES, StateDict

Array = npt.NDArray[Any]
Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Layout:
    """Tensors of a model in a vector float32 [P]; those of one module (`block`) lie side by side."""

    shapes: Mapping[str, tuple[int, ...]]
    blocks: Mapping[str, range]

    @staticmethod
    def of(state: StateDict) -> Layout:
        """The tensors of a base model that its members may have other values of, as far as a decoder makes them."""
        names = [name for name, array in state.arrays.items() if is_adjustable(array)]
        members: dict[str, list[str]] = {}
        for name in names:
            members.setdefault(name.rpartition(".")[0], []).append(name)
        shapes = {name: state.arrays[name].shape for block in members.values() for name in block}
        blocks: dict[str, range] = {}
        start = 0
        for block, own in members.items():
            size = sum(math.prod(shapes[name]) for name in own)
            blocks[block] = range(start, start + size)
            start += size
        return Layout(shapes, blocks)

    @cached_property
    def places(self) -> dict[str, slice]:
        """Where each tensor lies."""
        places, start = {}, 0
        for name, shape in self.shapes.items():
            places[name] = slice(start, start + math.prod(shape))
            start += math.prod(shape)
        return places

    @property
    def size(self) -> int:
        """The vector's length P."""
        return sum(map(math.prod, self.shapes.values()))

    def block_of(self, name: str) -> int:
        """The number of a tensor's block."""
        start = self.places[name].start
        return next(i for i, block in enumerate(self.blocks.values()) if start in block)

    def flatten(self, arrays: Mapping[str, Array]) -> Float32Array:
        """The vector of a model's tensors."""
        vector = np.empty(self.size, np.float32)
        for name, place in self.places.items():
            vector[place] = arrays[name].reshape(-1)
        return vector


def is_adjustable(array: Array) -> bool:
    """Whether a decoder may change a tensor.

    Gains and variances of normalisation layers (vectors of one sign) must not change theirs, and what is no real float tensor
    has no small changes.
    """
    if _core.dtype_name(array.dtype) not in LATENT_DTYPES or array.size == 0:
        return False
    return array.ndim > 1 or bool(array.min() <= 0 <= array.max())


def tensors_like(member: StateDict, base: Mapping[str, Array], who: str) -> dict[str, Array]:
    """A member's tensors by all of the base's names.

    Raises WeightsError, naming a tensor, unless they are the base's in shape and dtype, and finite.
    """
    _check_like(member, base, who)
    check_finite(member)
    return {name: member.arrays[member.aliases.get(name, name)] for name in base}


def _check_like(member: StateDict, base: Mapping[str, Array], who: str) -> None:
    missing = [name for name in base if name not in member.names]
    unknown = [name for name in member.names if name not in base]
    if missing or unknown:
        problem = f"lacks tensor '{missing[0]}'" if missing else f"has a tensor '{unknown[0]}'"
        raise WeightsError(
            f"{who} {problem}, unlike the base: give a fine-tune of the same architecture"
        )
    for name, array in member.arrays.items():
        if (array.shape, array.dtype) != (base[name].shape, base[name].dtype):
            raise WeightsError(
                f"tensor '{name}' of {who} is {array.dtype} {list(array.shape)}, the base's is "
                f"{base[name].dtype} {list(base[name].shape)}"
            )


def check_finite(state: StateDict) -> None:
    """Raise WeightsError, naming the tensor, if a float tensor holds a NaN or an infinity."""
    for name, array in state.arrays.items():
        if _core.dtype_name(array.dtype) in LATENT_DTYPES and not np.isfinite(array).all():
            raise WeightsError(
                f"tensor '{name}' holds NaN or infinite values; repair it, or leave it out"
            )
