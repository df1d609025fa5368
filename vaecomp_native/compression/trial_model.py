"""A module in which quantized weights are tried. It gets its own weights back at the end."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy.typing as npt
import torch
from torch import nn

from vaecomp_native.calibration.divergence import Measure, divergence, samples
from vaecomp_native.calibration.lockstep import InputMoments, lockstep
from vaecomp_native.calibration.maps import LinearMap
from vaecomp_native.calibration.outputs import Outputs
from vaecomp_native.calibration.running import Batch, outputs
from vaecomp_native.io.scratch import Scratch
from vaecomp_native.tensors import array_to_tensor

Array = npt.NDArray[Any]


class TrialModel:
    """A module, its original weights, and calibration batches.

    The module's tensors are overwritten in place, so that only one decoded copy exists. `restored`
    puts the originals back.

    Args:
        module: in any mode, on any device.
        originals: the tensors that may be replaced, by their names in the state dict.
        fitting: batches to fit corrections to.
        held_out: batches to measure divergence on.
        measure: what differences of the outputs mean; None if divergence is not asked for.
        first: the number of the first held-out batch among all batches.
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
        self._scratch = Scratch()
        self._reference = [self._kept(one) for one in self._outputs()]

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
            # Tensors made in inference mode can be changed there only.
            with torch.inference_mode(tensor.is_inference()), torch.no_grad():
                tensor.copy_(array_to_tensor(array).view(tensor.shape))

    def divergence(self, share: float = 1.0) -> float:
        """The mean divergence of the module's held-out outputs now from the original ones.

        `share` of the held-out batches, at least one, are run.
        """
        measure = self._measure
        assert measure is not None
        stride = round(1 / share)
        total = count = 0.0
        for now, before in zip(self._outputs(stride), self._reference[::stride], strict=True):
            weight = samples(before, measure)
            total += weight * float(divergence(now, before, measure))
            count += weight
        # Rounding makes the smallest divergences negative.
        return max(total / count, 0.0)

    def in_lockstep(
        self, maps: Collection[LinearMap], variants: Sequence[Mapping[str, torch.Tensor]]
    ) -> Iterator[tuple[LinearMap, list[InputMoments | None]]]:
        """Run the original module and variants of it on the fitting batches: see `lockstep`."""
        self.replace(self._originals)
        return lockstep(self.module, self._fitting, maps, variants)

    def tensors(self, arrays: Mapping[str, Array]) -> dict[str, torch.Tensor]:
        """Make tensors like the module's own, of other values."""
        return {
            name: array_to_tensor(array).to(self._tensors[name]) for name, array in arrays.items()
        }

    def _outputs(self, stride: int = 1) -> Iterator[Outputs]:
        return outputs(self.module, self._held_out, first=self._first, stride=stride)

    def _kept(self, outputs: Outputs) -> Outputs:
        return {
            name: [
                torch.from_numpy(self._scratch.copy(one.cpu().numpy())).to(one.device)
                for one in parts
            ]
            for name, parts in outputs.items()
        }
