"""A small module with tied weights, and how far two modules are apart."""

from __future__ import annotations

import torch
from torch import nn


class Tied(nn.Module):
    """Tied weights, a normalization layer with its counter, and a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(24, 24)
        self.norm = nn.BatchNorm1d(24)
        self.second = nn.Linear(24, 24)
        self.second.weight = self.first.weight

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.second(torch.relu(self.norm(self.first(inputs))))
        return outputs


def tied() -> Tied:
    """One in evaluation mode, always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Tied().eval()


def distance(module: nn.Module, other: nn.Module) -> float:
    """The largest difference between the parameters of two modules."""
    pairs = zip(module.state_dict().values(), other.state_dict().values(), strict=True)
    return max(float((a.double() - b.double()).abs().max()) for a, b in pairs)
