"""A pack that is open: its base, its decoders, and what they make of latents."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.archive import Archive
from vaecomp_native.decoders import IntegerDecoder, IntegerLayer
from vaecomp_native.errors import ArchiveError
from vaecomp_native.fleet.decoder import UNIT
from vaecomp_native.fleet.group import Group
from vaecomp_native.fleet.layout import Layout, tensors_like
from vaecomp_native.fleet.prior import LatentPrior
from vaecomp_native.io.sources import Source
from vaecomp_native.state_dict import StateDict

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

Array = npt.NDArray[Any]
Float32Array = npt.NDArray[np.float32]
Int8Array = npt.NDArray[np.int8]


class Pack:
    """A fleet's pack, opened once for many members. Safe to use from several threads.

    Args:
        source: where the pack is read from, or an archive that is open.
        threads: threads of the native kernels, 0 for all cores.

    Raises ArchiveError if it is no pack, OSError if it cannot be read.
    """

    def __init__(self, source: Archive | Source, *, threads: int = 0) -> None:
        self.archive = source if isinstance(source, Archive) else Archive(source, threads=threads)
        self.reader = self.archive.reader
        try:
            self.latents, segments, groups = self.reader.fleet()
        except ArchiveError:
            raise
        except ValueError as error:
            raise ArchiveError(
                "the archive has no fleet section: give a pack that vaecomp_native.fleet.train "
                f"made ({error})"
            ) from None
        names = list(self.archive)
        self.base = self.archive.decode()
        """The base's tensors by name; tied ones share an array."""
        tensors = self.archive.info.tensors
        self.aliases = {
            tensor.name: tensor.alias_of for tensor in tensors if tensor.alias_of is not None
        }
        """For each tensor that is tied to another one, which."""
        self.groups = [
            Group(
                IntegerDecoder(tuple(map(_layer, layers))),
                slices,
                {names[tensor]: self.base[names[tensor]].shape for tensor in tensors},
                position,
            )
            for layers, _, slices, tensors, position in groups
        ]
        self.priors = [
            (length, LatentPrior(first, tuple(counts))) for length, first, counts in segments
        ]

    @property
    def sha256(self) -> str:
        """The hash by which members name it, in hexadecimal digits."""
        return self.archive.sha256

    def arrays_of(self, state: StateDict) -> dict[str, Array]:
        """A model's tensors by the pack's names, as copies. Raises what `tensors_like` does."""
        arrays = tensors_like(state, self.base, self.aliases, "the member")
        return {name: array.copy() for name, array in arrays.items()}

    def relative_error(self, original: Mapping[str, Array], decoded: Mapping[str, Array]) -> float:
        """Squared error of the decoders' tensors over their squared distance from the base.

        Values of the original that are not finite do not count.
        """
        error = distance = 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            for name in self.layout.shapes:
                counted = np.isfinite(original[name])
                own = original[name][counted].astype(np.float64)
                error += float(np.square(decoded[name][counted].astype(np.float64) - own).sum())
                distance += float(
                    np.square(self.base[name][counted].astype(np.float64) - own).sum()
                )
        return error / distance if distance else float(error > 0)

    @cached_property
    def layout(self) -> Layout:
        """The tensors that decoders change, in the groups' order."""
        shapes = {name: shape for group in self.groups for name, shape in group.shapes.items()}
        return Layout(shapes, {})

    @cached_property
    def is_linear(self) -> bool:
        """Whether all decoders are linear in the latents."""
        return all(len(group.decoder.layers) == 1 for group in self.groups)

    def quantize(self, means: Float32Array, deviations: Float32Array) -> Int8Array:
        """Latents int8 [L] for posteriors float32 [L], by the pack's tables."""
        parts, start = [np.empty(0, np.int8)], 0
        for length, prior in self.priors:
            part = slice(start, start + length)
            parts.append(prior.quantize(means[part], deviations[part]))
            start += length
        return np.concatenate(parts)

    def values(self, latents: Int8Array, threads: int = 0) -> dict[str, Float32Array]:
        """Float tensors of a member with no residual, before they are rounded to their dtypes."""
        added = {
            name: part
            for group in self.groups
            for name, part in group.added(latents, threads).items()
        }
        return {name: self.base[name].astype(np.float32) + part for name, part in added.items()}

    def predictions(self, latents: Int8Array | None, threads: int = 0) -> dict[str, Array]:
        """All tensors of a member with no residual, as the file gives them back to the last bit.

        Without latents they are the pack's.
        """
        made = {} if latents is None else self.values(latents, threads)
        with np.errstate(over="ignore"):
            rounded = {name: array.astype(self.base[name].dtype) for name, array in made.items()}
        return self.tied({**self.base, **rounded})

    def tied(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Tensors by the pack's names, with those that it ties sharing their owner's array."""
        return {name: arrays[self.aliases.get(name, name)] for name in self.base}

    @cached_property
    def linear_map(self) -> tuple[Float32Array, Float32Array]:
        """Of a linear pack, the map from latents in standard deviations to a member's vector.

        These are an offset [P] and a matrix [P, L], in the layout's order.
        """
        offset = self.layout.flatten(self.base)
        matrix = np.zeros((self.layout.size, self.latents), np.float32)
        start = 0
        for group in self.groups:
            size = sum(map(math.prod, group.shapes.values()))
            rows = slice(start, start + size)
            offset[rows] += group.decoder.forward(
                group.inputs(np.zeros(self.latents, np.int8))
            ).reshape(-1)[:size]
            (layer,) = group.decoder.layers
            assert layer.scale is not None
            scaled = layer.weight.astype(np.float32) * (layer.scale * np.float32(UNIT))[:, None]
            column = 0
            for first, count in group.slices:
                own = np.tile(scaled[:, column : column + count], (len(group.position), 1))
                matrix[rows, first : first + count] += own[:size]
                column += count
            start += size
        return offset, matrix

    def forward(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """The map from latents float32 [L], in standard deviations, to a member's vector.

        The vector [P] is in the layout's order. The map is differentiable.
        """
        from vaecomp_native.fleet.forward import forward_of

        return forward_of(self.layout.flatten(self.base), self.groups)


def _layer(arrays: tuple[Array, ...]) -> IntegerLayer:
    if len(arrays) == 3:
        weight, bias, scale = arrays
        return IntegerLayer(weight, bias, scale=scale)
    weight, bias, multiplier, shift = arrays
    return IntegerLayer(weight, bias, multiplier=multiplier, shift=shift)
