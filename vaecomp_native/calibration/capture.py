"""Collects the inputs of one linear operator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from vaecomp_native.calibration.interception import hooked
from vaecomp_native.calibration.maps import LinearMap
from vaecomp_native.calibration.running import Batch, outputs


def capture(
    module: nn.Module,
    batches: Sequence[Batch],
    linear_map: LinearMap,
    *,
    limit: int = 32768,
    seed: int = 0,
) -> torch.Tensor:
    """Inputs float32 [M, columns] of one map over all batches, in order, at most `limit` rows.

    Which rows are kept depends on the seed and on their numbers alone: two captures from the same
    batches through modules that differ in their weights give rows that belong together. The module
    runs in evaluation mode and is left as it was. Raises CalibrationError as `run` does.
    """
    sample = _Sample(linear_map.columns, limit, seed)
    with hooked(module, [linear_map], lambda _map, inputs, _outputs: sample.add(inputs)):
        outputs(module, batches)
    return sample.rows()


class _Sample:
    """The rows with the `limit` smallest of random keys: each set of that size is equally likely."""

    def __init__(self, columns: int, limit: int, seed: int) -> None:
        self._limit = limit
        self._random = np.random.default_rng(seed)
        self._keys = np.empty(0)
        self._parts = [torch.empty(0, columns)]
        self._highest = np.inf

    def add(self, inputs: torch.Tensor) -> None:
        keys = self._random.random(len(inputs))
        chosen = np.flatnonzero(keys < self._highest)
        self._keys = np.append(self._keys, keys[chosen])
        # Indexing copies: the inputs are the module's.
        self._parts.append(inputs[torch.from_numpy(chosen).to(inputs.device)].cpu())
        if len(self._keys) > 2 * self._limit:
            self._prune()

    def rows(self) -> torch.Tensor:
        self._prune()
        return torch.cat(self._parts)

    def _prune(self) -> None:
        if len(self._keys) > self._limit:
            kept = np.sort(np.argpartition(self._keys, self._limit - 1)[: self._limit])
            self._keys = self._keys[kept]
            self._highest = self._keys.max()
            self._parts = [torch.cat(self._parts)[torch.from_numpy(kept)]]
