"""Rounding that torch and the integer decoder share (docs/kernels.md, section 3)."""

from __future__ import annotations

from typing import Any

import torch


class _RoundStraightThrough(torch.autograd.Function):
    """Rounds half up, as requantization does; its derivative is taken as 1 (Bengio et al. 2013)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.floor(x + 0.5)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0]


def round_straight_through(x: torch.Tensor) -> torch.Tensor:
    """`floor(x + 0.5)` with the derivative of the identity."""
    rounded: torch.Tensor = _RoundStraightThrough.apply(x)
    return rounded
