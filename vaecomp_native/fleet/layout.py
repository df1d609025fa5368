"""A model as a vector: the tensors that a fleet's decoder changes, one behind another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.bits import identical
from vaecomp_native.errors import WeightsError
from vaecomp_native.state_dict import LATENT_DTYPES, StateDict

Array = npt.NDArray[Any]
Float32Array = npt.NDArray[np.float32]
MAX_MAGNITUDE = 2.0**40
"""No decoder follows values beyond it: sums of their squares might not be finite."""


@dataclass(frozen=True)
class Layout:
    """Tensors of a model in a vector float32 [P].

    The tensors of one module lie side by side and are a block.
    """

    shapes: Mapping[str, tuple[int, ...]]
    blocks: Mapping[str, range]

    @staticmethod
    def of(state: StateDict) -> Layout:
        """The tensors of a base model that a decoder may change."""
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
        with np.errstate(over="ignore", invalid="ignore"):
            for name, place in self.places.items():
                vector[place] = arrays[name].reshape(-1)
        return vector

    def deltas(self, arrays: Mapping[str, Array], base: Float32Array) -> Float32Array:
        """What a model's tensors differ by from a vector.

        It is 0 where no decoder could follow (`is_ordinary`).
        """
        with np.errstate(over="ignore", invalid="ignore"):
            deltas = self.flatten(arrays) - base
            deltas[~(np.abs(deltas) <= MAX_MAGNITUDE)] = 0.0
        return deltas


def tensor_weights(base: Mapping[str, Array], deltas: Float32Array, layout: Layout) -> Float32Array:
    """What squared errors count where nothing is known of the outputs, float32 [P].

    They count relative to the mean square of their tensor and its deltas [N, P].
    """
    weights = np.empty(layout.size, np.float32)
    for name, place in layout.places.items():
        energy = float(np.square(base[name].astype(np.float32)).mean())
        energy += float(np.square(deltas[:, place]).mean())
        weights[place] = 1.0 / max(energy, 1e-20)
    return weights


def is_adjustable(array: Array) -> bool:
    """Whether a decoder may change a tensor.

    Not those that are no real floats, which have no small changes. And not vectors of one sign:
    gains and variances of normalization layers must keep theirs.
    """
    is_float = _core.dtype_name(array.dtype) in LATENT_DTYPES
    if not is_float or array.size == 0 or not is_ordinary(array):
        return False
    return array.ndim > 1 or bool(array.min() <= 0 <= array.max())


def is_ordinary(array: Array) -> bool:
    """Whether all of a float tensor's values are finite and none is beyond `MAX_MAGNITUDE`."""
    # A signalling NaN is no reason for NumPy to warn.
    with np.errstate(invalid="ignore"):
        if not np.isfinite(array).all():
            return False
    return array.size == 0 or max(float(array.max()), -float(array.min())) <= MAX_MAGNITUDE


def tensors_like(
    member: StateDict, base: Mapping[str, Array], ties: Mapping[str, str], who: str
) -> dict[str, Array]:
    """A member's tensors by all of the base's names.

    `ties` maps names of the base to those whose data they share. A member's tensors need not be
    tied to be the same. Raises WeightsError, naming a tensor, unless they are the base's in shape
    and dtype, and identical where they are tied in the base.
    """
    _check_like(member, base, who)
    arrays = {name: member.arrays[member.aliases.get(name, name)] for name in base}
    for name, owner in ties.items():
        if not identical(arrays[name], arrays[owner]):
            raise WeightsError(
                f"tensor '{name}' of {who} differs from '{owner}', to which it is tied in the "
                "base: train a pack on a base in which they are apart"
            )
    return arrays


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
