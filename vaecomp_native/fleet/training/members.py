"""A fleet's members beside the base that they were made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.errors import WeightsError
from vaecomp_native.fleet.layout import Layout, tensors_like
from vaecomp_native.progress import Progress
from vaecomp_native.state_dict import StateDict, read_state_dict

if TYPE_CHECKING:
    from vaecomp_native.state_dict import Weights

Array = npt.NDArray[Any]
Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Members:
    """Models in any form, and the state dict of their base.

    `base` has the base's tensors as the pack will give them back.
    """

    weights: Sequence[Weights]
    state: StateDict
    base: Mapping[str, Array]
    layout: Layout

    @staticmethod
    def of(
        weights: Sequence[Weights], state: StateDict, decoded: Mapping[str, npt.ArrayLike]
    ) -> Members:
        """Members of a base that decodes to `decoded`. Raises WeightsError if none can differ."""
        layout = Layout.of(state)
        if not layout.size:
            raise WeightsError("the base has no float tensors that a decoder could change")
        base = {name: np.asarray(decoded[name]) for name in state.arrays}
        return Members(weights, state, base, layout)

    def __iter__(self) -> Iterator[Mapping[str, Array]]:
        """Each member's tensors, checked, with all names."""
        aliases, arrays = self.state.aliases, self.state.arrays
        base = {name: arrays[aliases.get(name, name)] for name in self.state.names}
        for number, weights in enumerate(self.weights):
            yield tensors_like(read_state_dict(weights), base, aliases, f"member {number}")

    @property
    def vector(self) -> Float32Array:
        """The base's adjustable tensors, [P]."""
        return self.layout.flatten(self.base)

    def deltas(self, progress: Progress) -> Float32Array:
        """What members differ by from the base, [N, P]. It is 0 where no decoder could follow."""
        base = self.vector
        deltas = np.empty((len(self.weights), len(base)), np.float32)
        for number, arrays in enumerate(self):
            deltas[number] = self.layout.deltas(arrays, base)
            progress("reading members", number + 1, len(deltas), {})
        return deltas
