"""A trained decoder in integers: what latents add to the base.

    w = base + step * (unit * q_0 + sum over n of feature_n * q_n) / unit

with a step for each tensor and int8 symbols q [P, 1 + n]. The first column is what all members have
in common beside the base. Features are the latents that a block depends on, or the activations of a
hidden layer of them. They are int8 either way, with `UNIT` for 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vaecomp_native.decoders import IntegerDecoder, IntegerLayer
from vaecomp_native.fleet.group import Group
from vaecomp_native.fleet.layout import Layout
from vaecomp_native.quantization.fixed_point import fixed_point

Float32Array = npt.NDArray[np.float32]
Int8Array = npt.NDArray[np.int8]
UNIT = 16
"""Steps of a latent in a standard deviation of the fleet's."""
MAX_SYMBOL = 127
"""Largest magnitude of symbols and latents."""
DEAD_ZONE = 0.35
"""What is added before rounding down.

Rounding to the nearest would add 0.5. More zeros make a smaller file and cost little accuracy.
"""


@dataclass(frozen=True)
class LatentPlan:
    """Which latents a block's tensors depend on.

    They are `common` ones of the whole model, then `local` ones of the block. A hidden layer of
    `hidden` units lies between latents and tensors, or none if that is 0.
    """

    common: int
    local: int
    blocks: int
    hidden: int = 0

    @property
    def latents(self) -> int:
        """All latents of a member."""
        return self.common + self.local * self.blocks

    @property
    def inputs(self) -> int:
        """Latents that a block depends on."""
        return self.common + self.local

    def slices(self, block: int) -> list[tuple[int, int]]:
        """A block's latents as (first, count)."""
        own = (self.common + block * self.local, self.local)
        return [part for part in ((0, self.common), own) if part[1]]

    def indices(self, block: int) -> list[int]:
        """A block's latents, one by one."""
        return [i for first, count in self.slices(block) for i in range(first, first + count)]


@dataclass(frozen=True, eq=False)
class HiddenLayer:
    """relu(weight @ latents + bias): weight float32 [H, l], bias float32 [H]."""

    weight: Float32Array
    bias: Float32Array

    def integer(self) -> IntegerLayer:
        """The layer in integers, behind a unit that is always `UNIT`, for the first column."""
        largest = np.maximum(np.abs(self.weight).max(1).astype(np.float64), 1e-6)
        weight = np.rint(self.weight * (MAX_SYMBOL / largest)[:, None])
        bias = np.rint(self.bias * (MAX_SYMBOL * UNIT / largest))
        multiplier, shift = fixed_point(np.concatenate([[1.0], largest / MAX_SYMBOL]))
        return IntegerLayer(
            np.concatenate([np.zeros((1, weight.shape[1])), weight]).astype(np.int8),
            np.concatenate([[UNIT], bias]).astype(np.int32),
            multiplier,
            shift,
        )


@dataclass(frozen=True, eq=False)
class FleetDecoder:
    """Symbols int8 [P, 1 + n] over a layout, and a step for each tensor.

    There may be a hidden layer for each block.
    """

    layout: Layout
    plan: LatentPlan
    symbols: Int8Array
    steps: Mapping[str, np.float32]
    hidden: Sequence[HiddenLayer] = ()

    @staticmethod
    def of(
        columns: Float32Array,
        steps: Float32Array,
        layout: Layout,
        plan: LatentPlan,
        hidden: Sequence[HiddenLayer] = (),
    ) -> FleetDecoder:
        """From columns float32 [P, 1 + n], rounded to steps float32 [P].

        Steps are the same within a tensor.
        """
        by_tensor = {name: steps[place.start] for name, place in layout.places.items()}
        return FleetDecoder(layout, plan, to_symbols(columns, steps), by_tensor, hidden)

    @property
    def columns(self) -> Float32Array:
        """What the symbols stand for, float32 [P, 1 + n]."""
        columns = self.symbols.astype(np.float32)
        for name, place in self.layout.places.items():
            columns[place] *= self.steps[name]
        return columns

    def groups(self) -> Iterator[Group]:
        """As a pack holds it: tensors of one step and the same latents share a decoder."""
        alike: dict[tuple[np.float32, int], list[str]] = {}
        for name, step in self.steps.items():
            block = self.layout.block_of(name) if self.plan.local else 0
            alike.setdefault((step, block), []).append(name)
        for (step, block), names in alike.items():
            rows = np.concatenate([self.symbols[self.layout.places[name]] for name in names])
            shapes = {name: self.layout.shapes[name] for name in names}
            if self.hidden:
                layers: tuple[IntegerLayer, ...] = (self.hidden[block].integer(), _last(rows, step))
                position = np.zeros((1, 0), np.int8)
            else:
                # The first column's feature is a constant, which a position's number is.
                layers = (_last(np.roll(rows, -1, axis=1), step),)
                position = np.full((1, 1), UNIT, np.int8)
            yield Group(IntegerDecoder(layers), self.plan.slices(block), shapes, position)


def _last(weight: Int8Array, step: np.float32) -> IntegerLayer:
    return IntegerLayer(
        np.ascontiguousarray(weight),
        np.zeros(len(weight), np.int32),
        scale=np.full(len(weight), step / np.float32(UNIT), np.float32),
    )


def tensor_steps(
    columns: Float32Array, importance: Mapping[str, float], layout: Layout, coarseness: float
) -> Float32Array:
    """What a symbol stands for, float32 [P], the same for all weights of a tensor.

    It is `coarseness` times the root mean square of the columns [P, 1 + inputs] behind the first.
    It is smaller in proportion to the root of the tensor's importance, relative to the typical
    weight's. Steps are powers of the root of two, so that tensors share decoders.
    """
    size = float(np.sqrt(np.square(columns[:, 1:], dtype=np.float64).mean()))
    floor = 1e-6 * max(importance.values(), default=1.0)
    logs = {name: math.log2(max(value, floor, 1e-30)) for name, value in importance.items()}
    sizes = {name: math.prod(shape) for name, shape in layout.shapes.items()}
    typical = sum(logs[name] * sizes[name] for name in sizes) / max(sum(sizes.values()), 1)
    steps = np.empty(layout.size, np.float32)
    for name, place in layout.places.items():
        octaves = math.log2(max(coarseness * size, 1e-30)) - 0.5 * (logs[name] - typical)
        steps[place] = 2.0 ** (round(2 * octaves) / 2)
    return steps


def to_symbols(columns: Float32Array, steps: Float32Array) -> Int8Array:
    """Columns [P, n] in steps [P], rounded towards zero beyond a dead zone."""
    scaled = columns / steps[:, None]
    rounded = np.sign(scaled) * np.floor(np.abs(scaled) + DEAD_ZONE)
    symbols: Int8Array = np.clip(rounded, -MAX_SYMBOL, MAX_SYMBOL).astype(np.int8)
    return symbols
