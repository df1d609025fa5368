"""How far a module's outputs are from others."""

from __future__ import annotations

import torch
from torch import nn


def divergence(now: torch.Tensor, before: torch.Tensor, kind: str) -> torch.Tensor:
    """Mean over samples of the divergence of outputs from those before; differentiable.

    "kl": KL(softmax(before) || softmax(now)) over the last axis, in nats. "mse": the mean squared error relative to the variance of
    `before`.
    """
    if kind == "mse":
        variance = before.var(correction=0).clamp_min(1e-30)
        return (now - before).square().mean() / variance
    change = nn.functional.kl_div(
        now.log_softmax(-1), before.log_softmax(-1), reduction="sum", log_target=True
    )
    return change / samples(before, kind)


def samples(output: torch.Tensor, kind: str) -> int:
    """What `divergence` takes the mean over; a batch of "mse" is one sample."""
    return output.numel() // output.shape[-1] if kind == "kl" else 1
