"""A module on which quantized weights are tried: swapped in, measured, and put back as they were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vaecomp_native.calibration.capture import capture
from vaecomp_native.calibration.divergence import Measure, divergence, samples
from vaecomp_native.calibration.interception import hooked
from vaecomp_native.calibration.maps import LinearMap
from vaecomp_native.calibration.outputs import Outputs
from vaecomp_native.calibration.running import Batch, outputs
from vaecomp_native.io.scratch import Scratch

Array = npt.NDArray[Any]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

CACHE_BYTES = 1 << 30
"""Inputs of the original module that are kept, for corrections; operators beyond that get none."""
CAPTURED_ROWS = 16384
"""Inputs of an operator that a correction is fitted to."""
POSITIONS_A_ROW = 4
"""Positions to choose each of them from, so that they come from many samples."""


class TrialModel:
    """A module, its original weights, and calibration batches.

    The module's tensors are overwritten in place, so that only one decoded copy exists; `restored` puts the originals back.

    Args:
        module: in any mode, on any device.
        originals: the tensors that may be replaced, by their names in the state dict.
        fitting: batches to fit corrections to.
        held_out: batches to measure divergence on.
        measure: what differences of the outputs mean; None if divergence is not asked for.
        first: number of the first held-out batch among all.
    """

    def __init__(
        self,
        module: nn.Module,
        originals: Mapping[str, Array],
        fitting: Sequence[Batch],
        held_out: Sequence[Batch],
        measure: Measure | None,
        *,
        first: int = 0,
    ) -> None:
        self.module = module
        self._originals = originals
        self._tensors = module.state_dict(keep_vars=True)
        self._fitting = fitting
        self._held_out = held_out
        self._measure = measure
        self._first = first
        self._reference = self._outputs()
        self._inputs: dict[str, torch.Tensor] = {}
        self._enough: dict[str, int] = {}

    @contextmanager
    def restored(self) -> Iterator[TrialModel]:
        """Put the original weights back at the end, whatever happens."""
        try:
            yield self
        finally:
            self.replace(self._originals)

    def replace(self, arrays: Mapping[str, Array]) -> None:
        """Overwrite tensors of the module."""
        for name, array in arrays.items():
            tensor = self._tensors[name]
            # Torch takes no bfloat16 from NumPy; float32 holds it.
            wide = np.float64 if array.dtype == np.float64 else np.float32
            values = torch.from_numpy(np.ascontiguousarray(array, wide))
            # Tensors made in inference mode can be changed there only.
            with torch.inference_mode(tensor.is_inference()), torch.no_grad():
                tensor.copy_(values.view(tensor.shape))

    def divergence(self) -> float:
        """Of the module's held-out outputs, as it is now, from the original's."""
        measure = self._measure
        assert measure is not None
        total = count = 0.0
        for now, before in zip(self._outputs(), self._reference, strict=True):
            weight = samples(before, measure)
            total += weight * float(divergence(now, before, measure))
            count += weight
        # Rounding makes the least divergences negative.
        return max(total / count, 0.0)

    def remember_inputs(self, maps: Sequence[LinearMap], scratch: Scratch) -> None:
        """Capture the inputs of maps, into `scratch`, while the module has its original weights."""
        positions = Counter[str]()
        with hooked(self.module, maps, lambda one, x, _: positions.update({one.name: len(x)})):
            outputs(self.module, self._fitting[:1])
        room = CACHE_BYTES
        for linear_map in maps:
            # A convolution sees thousands of positions in each sample: then few batches do.
            wanted = POSITIONS_A_ROW * CAPTURED_ROWS
            self._enough[linear_map.name] = -(-wanted // max(positions[linear_map.name], 1))
            room -= 4 * CAPTURED_ROWS * linear_map.columns
            if room > 0:
                inputs = scratch.copy(self._capture(linear_map).numpy())
                self._inputs[linear_map.name] = torch.from_numpy(inputs)

    def moments(self, linear_map: LinearMap) -> tuple[Float64Array, Float64Array] | None:
        """Second moments of a map's inputs now, and of the original inputs (rows) with those now.

        Both float64 [n, n], with a 1 behind the inputs for a bias, averaged over the same positions; None if the original inputs were
        too many to remember.
        """
        if linear_map.name not in self._inputs:
            return None
        now = _with_ones(self._capture(linear_map), linear_map)
        before = _with_ones(self._inputs[linear_map.name], linear_map)
        count = max(len(now), 1)
        return (now.T @ now).double().numpy() / count, (before.T @ now).double().numpy() / count

    def _outputs(self) -> list[Outputs]:
        return outputs(self.module, self._held_out, first=self._first)

    def _capture(self, linear_map: LinearMap) -> torch.Tensor:
        batches = self._fitting[: self._enough[linear_map.name]]
        return capture(self.module, batches, linear_map, limit=CAPTURED_ROWS)


def _with_ones(inputs: torch.Tensor, linear_map: LinearMap) -> torch.Tensor:
    return torch.cat([inputs, inputs.new_ones(len(inputs), 1)], 1) if linear_map.biases else inputs
