"""The divergence of a module's outputs from others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

import torch
from torch import nn

from vaecomp_native.calibration.outputs import Outputs

KINDS = ("kl", "mse")
SMALLEST_CHANCE = 1e-30
"""The probability that stands for smaller ones, which may have no logarithm."""


@dataclass(frozen=True)
class Measure:
    """The meaning of differences between outputs.

    Args:
        kind: "kl", KL(before || now) of distributions over classes, in nats; or "mse", squared
            error.
        axis: the axis of the classes. None means axis 1 of a tensor with four axes or more, and the
            last axis of others.
        probabilities: whether the outputs are probabilities. Otherwise they are logits or
            logarithms of probabilities.
    """

    kind: str
    axis: int | None = None
    probabilities: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"divergence is {self.kind!r}: choose from auto, {', '.join(KINDS)}")

    @classmethod
    def of(cls, divergence: str | Measure) -> Measure:
        """Make a measure of a name, and leave a measure as it is."""
        return divergence if isinstance(divergence, Measure) else cls(divergence)

    def names(self, outputs: Outputs) -> list[str]:
        """The outputs that count: all, but for "kl" only logits if some are called so."""
        logits = [name for name in outputs if is_logits(name)] if self.kind == "kl" else []
        return logits or list(outputs)

    def logits(self, output: torch.Tensor) -> torch.Tensor:
        """Make logits [..., classes] of an output."""
        axis = class_axis(output) if self.axis is None else self.axis
        last = output.movedim(axis, -1) if output.dim() > 0 else output.reshape(1)
        return last.clamp_min(SMALLEST_CHANCE).log() if self.probabilities else last


def is_logits(name: str) -> bool:
    """Whether an output is called logits, like "logits", "start_logits" and "logits_per_image"."""
    return any("logits" in part.split("_") for part in name.split("."))


def class_axis(output: torch.Tensor) -> int:
    """The axis of classes if none is known: axis 1 from four axes on, else the last one."""
    return 1 if output.dim() > 3 else -1


def divergence(now: Outputs, before: Outputs, measure: Measure) -> torch.Tensor:
    """The mean divergence of outputs from those before, as a differentiable scalar.

    "kl" is the mean over all positions of all logits. "mse" is the mean over the outputs of each
    one's mean squared error, relative to the variance before. Where shapes differ, the common
    leading parts are compared, and the rest of either side is compared with zeros.
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
    """The number of samples that `divergence` averages: positions of logits; 1 for "mse"."""
    if measure.kind == "mse":
        return 1
    logits = [measure.logits(one) for name in measure.names(outputs) for one in outputs[name]]
    return max(sum(one.numel() // max(one.shape[-1], 1) for one in logits), 1)


def spread(values: torch.Tensor) -> torch.Tensor:
    """The unit of squared errors: the variance; the square of equal values; 1 for zeros."""
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
    """Yield the tensors of an output, now and before, brought to equal shapes."""
    for one, other in zip_longest(now.get(name, ()), before.get(name, ())):
        if one is None or other is None:
            there = other if one is None else one
            zeros = torch.zeros_like(there)
            yield (zeros, there) if one is None else (there, zeros)
        else:
            yield _aligned(one, other)


def _aligned(one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad both with zeros at the end of each axis, so that their shapes are equal."""
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
