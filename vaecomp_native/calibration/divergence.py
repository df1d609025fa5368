"""How far a module's outputs are from others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

import torch
from torch import nn

from vaecomp_native.calibration.outputs import Outputs

KINDS = ("kl", "mse")
SMALLEST_CHANCE = 1e-30


@dataclass(frozen=True)
class Measure:
    """What differences between outputs mean.

    Args:
        kind: "kl", KL(before || now) of distributions over classes, in nats; or "mse", squared
            error.
        axis: of the classes; None for axis 1 of a tensor with four axes or more, the last of
            others.
        probabilities: the outputs are probabilities; otherwise logits or logarithms of
            probabilities.
    """

    kind: str
    axis: int | None = None
    probabilities: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"divergence is {self.kind!r}: choose from auto, {', '.join(KINDS)}")

    @classmethod
    def of(cls, divergence: str | Measure) -> Measure:
        """The measure of that name, unless it is one."""
        return divergence if isinstance(divergence, Measure) else cls(divergence)

    def names(self, outputs: Outputs) -> list[str]:
        """The outputs that count: all, but for "kl" only logits where some are called so."""
        logits = [name for name in outputs if is_logits(name)] if self.kind == "kl" else []
        return logits or list(outputs)

    def logits(self, output: torch.Tensor) -> torch.Tensor:
        """Logits [..., classes] of an output."""
        axis = class_axis(output) if self.axis is None else self.axis
        last = output.movedim(axis, -1) if output.dim() > 0 else output.reshape(1)
        return last.clamp_min(SMALLEST_CHANCE).log() if self.probabilities else last


def is_logits(name: str) -> bool:
    """Whether an output is called logits, as in "logits", "start_logits" and "logits_per_image"."""
    return any("logits" in part.split("_") for part in name.split("."))


def class_axis(output: torch.Tensor) -> int:
    """Where classes are if nothing is known: as for `cross_entropy`, but last in sequences."""
    return 1 if output.dim() > 3 else -1


def divergence(now: Outputs, before: Outputs, measure: Measure) -> torch.Tensor:
    """Mean over samples of the divergence of outputs from those before; differentiable.

    "kl": the mean over all positions of all logits. "mse": of each output the mean squared error,
    relative to the variance of what was before, then the mean over the outputs. Where shapes differ
    the common leading part is compared, and what one side alone has is compared with zeros.
    """
    if measure.kind == "mse":
        names = list(dict.fromkeys([*before, *now]))
        errors = [_relative_error(name, now, before) for name in names]
        return torch.stack(errors).mean()
    changes = [
        _kl(measure.logits(one), measure.logits(other))
        for name in measure.names(before)
        for one, other in _pairs(name, now, before)
    ]
    return torch.stack(changes).sum() / samples(before, measure)


def samples(outputs: Outputs, measure: Measure) -> int:
    """What `divergence` takes the mean over: positions of logits; a batch of "mse" is one."""
    if measure.kind == "mse":
        return 1
    logits = [measure.logits(one) for name in measure.names(outputs) for one in outputs[name]]
    return max(sum(one.numel() // max(one.shape[-1], 1) for one in logits), 1)


def spread(values: torch.Tensor) -> torch.Tensor:
    """What errors are relative to: the variance; of equal values their square; of zeros 1."""
    if values.numel() == 0:
        return values.new_ones(())
    variance, square = values.var(correction=0), values.square().mean()
    return next((one for one in (variance, square) if one > 1e-30), values.new_ones(()))


def _kl(now: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """KL(before || now), summed over all positions of logits [..., classes]."""
    return nn.functional.kl_div(
        now.log_softmax(-1), before.log_softmax(-1), reduction="sum", log_target=True
    )


def _relative_error(name: str, now: Outputs, before: Outputs) -> torch.Tensor:
    pairs = [tuple(map(_real, pair)) for pair in _pairs(name, now, before)]
    count = sum(one.numel() for one, _ in pairs)
    known = [_real(one).flatten() for one in before.get(name) or now[name]]
    error = torch.stack([(one - other).square().sum() for one, other in pairs]).sum()
    return error / max(count, 1) / spread(torch.cat(known).detach())


def _pairs(name: str, now: Outputs, before: Outputs) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Tensors of an output, now and before, in shapes that are equal."""
    for one, other in zip_longest(now.get(name, ()), before.get(name, ())):
        if one is None or other is None:
            there = other if one is None else one
            zeros = torch.zeros_like(there)
            yield (zeros, there) if one is None else (there, zeros)
        else:
            yield _aligned(one, other)


def _aligned(one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both with zeros behind them along each axis, so that their shapes are equal."""
    if one.shape == other.shape:
        return one, other
    if one.dim() != other.dim():
        one, other = one.flatten(), other.flatten()
    shape = [max(sizes) for sizes in zip(one.shape, other.shape, strict=True)]
    return _padded(one, shape), _padded(other, shape)


def _padded(tensor: torch.Tensor, shape: list[int]) -> torch.Tensor:
    zeros = tensor.new_zeros(shape)
    zeros[tuple(slice(size) for size in tensor.shape)] = tensor
    return zeros


def _real(tensor: torch.Tensor) -> torch.Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor
