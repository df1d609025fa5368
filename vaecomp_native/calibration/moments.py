"""Second moments of an operator's inputs, gathered part by part."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from vaecomp_native.io.scratch import Scratch

ROWS_A_COLUMN, MIN_ROWS, MAX_ROWS = 8, 4096, 16384
"""The inputs of an operator that make a moment: so many for each column, within these limits."""
SLICE = 1024
"""The number of positions whose products are summed in float32. Sums add up in float64."""


class Moment:
    """E[x x^T] of rows x float32 [columns], each with a 1 at its end if there is a bias."""

    def __init__(self, columns: int, *, bias: bool, scratch: Scratch) -> None:
        self._columns = columns
        self._size = columns + bias
        self._rows = torch.empty(0)
        self._scratch = scratch
        self._sum = torch.empty(0)
        self._device = torch.device("cpu")
        self._filled = 0
        self._count = 0

    def add(self, inputs: torch.Tensor) -> None:
        """Take in inputs float32 [M, columns]."""
        if self._count == 0:
            # Together they may be as large as the weights.
            self._rows = torch.from_numpy(self._scratch.empty((SLICE, self._size), np.float32))
            self._rows.fill_(1.0)
            self._sum = torch.from_numpy(self._scratch.empty((self._size, self._size), np.float64))
            self._sum.zero_()
            self._device = inputs.device
        self._count += len(inputs)
        while len(inputs) > 0:
            part = inputs[: SLICE - self._filled]
            self._rows[self._filled : self._filled + len(part), : self._columns] = part
            self._filled += len(part)
            inputs = inputs[len(part) :]
            if self._filled == SLICE:
                self._flush()

    def mean(self) -> npt.NDArray[np.float64]:
        """The moment float64 [n, n] of all rows, in the memory of their sum; zeros without any."""
        if self._count == 0:
            return np.zeros((self._size, self._size))
        self._flush()
        moment: npt.NDArray[np.float64] = self._sum.numpy()
        moment /= self._count
        moment += moment.T.copy()
        moment /= 2
        return moment

    def _flush(self) -> None:
        rows = self._rows[: self._filled].to(self._device)
        self._sum += products(rows, rows).cpu()
        self._filled = 0


def products(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """left^T right of float32 [M, a] and [M, b], summed in float32 whatever the caller's autocast.

    Returns float32 [a, b].
    """
    with torch.autocast(left.device.type, enabled=False):
        return left.T @ right


def rows_for(columns: int) -> int:
    """About the number of inputs, over all batches, that a moment of so many columns is made of."""
    return min(max(ROWS_A_COLUMN * columns, MIN_ROWS), MAX_ROWS)
