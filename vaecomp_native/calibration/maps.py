"""Linear operators as matrices of a module's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class LinearMap:
    """One linear operator of a module: y = W x + b for every position that it is applied to.

    Args:
        name: the path of its layer ("fc", "recurrent.l0", "gru.l0.hh").
        weights: state-dict names. W is these tensors as [rows, -1], side by side.
        biases: state-dict names of vectors [rows] whose sum is b; empty if there is no bias.
        rows: rows of W.
        columns: columns of W, without the bias.
        shapes: the shape of each weight.
        groups: a convolution's groups. Each applies its share of the rows to inputs of its own.
        uses: how often a run of the module applies it. Maps that differ only here are equal.
    """

    name: str
    weights: tuple[str, ...]
    biases: tuple[str, ...]
    rows: int
    columns: int
    shapes: tuple[tuple[int, ...], ...]
    groups: int = 1
    uses: int = field(default=1, compare=False)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of weights and biases."""
        return self.weights + self.biases

    @property
    def width(self) -> int:
        """The columns of `matrix`: those of W, and one for a bias."""
        return self.columns + bool(self.biases)

    def matrix(self, state: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Make [W b], or W without a bias, from a state dict: float32 [rows, width]."""
        parts = [state[name].detach().float().reshape(self.rows, -1) for name in self.weights]
        if self.biases:
            bias = torch.stack([state[name].detach().float() for name in self.biases]).sum(0)
            parts.append(bias[:, None])
        return torch.cat(parts, 1)

    def split(self, matrix: torch.Tensor) -> dict[str, torch.Tensor]:
        """Cut a matrix [rows, width] into the parameters, in their shapes.

        The first bias gets the whole bias column and the others zeros.
        """
        widths = [torch.Size(shape).numel() // self.rows for shape in self.shapes]
        parts = torch.split(matrix, widths + [1] * bool(self.biases), 1)
        parameters = {
            name: part.reshape(shape)
            for name, shape, part in zip(self.weights, self.shapes, parts, strict=False)
        }
        for name in self.biases:
            first = name == self.biases[0]
            parameters[name] = parts[-1][:, 0].clone() if first else parts[-1].new_zeros(self.rows)
        return parameters
