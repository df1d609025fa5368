"""Convolutions as linear maps of windows of their inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from vaecomp_native.calibration.hooks import Hooks, chosen

FUNCTIONS = (F.conv1d, F.conv2d, F.conv3d)

Size = int | Sequence[int]


def run(
    hooks: Hooks,
    convolve: Callable[..., torch.Tensor],
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> torch.Tensor:
    """Run `convolve`, one of `FUNCTIONS`, and show its windows and outputs to the hook."""
    hook = hooks.hook([weight], [bias], groups=groups)
    batched = input.dim() == weight.dim()

    def sample(limit: int, seed: int) -> torch.Tensor:
        samples = (input if batched else input[None]).detach()
        windows = _windows(samples, weight.shape[2:], stride, padding, dilation)
        return _some(windows, weight.dim() - 1, -(-limit // groups), seed).reshape(
            -1, weight[0].numel()
        )

    if hook is not None:
        hook.before(sample)
    outputs = convolve(input, weight, bias, stride, padding, dilation, groups)
    if hook is None or not hook.wants_outputs:
        return outputs
    channels = 1 if batched else 0
    last = hook.after(sample, outputs.movedim(channels, -1))
    return last.movedim(-1, channels).contiguous()


def _some(windows: torch.Tensor, axes: int, limit: int, seed: int) -> torch.Tensor:
    """Lay out windows at random places of the first `axes` axes: float32 [M, C * kernel]."""
    places = windows.shape[:axes]
    index = chosen(math.prod(places), limit, seed)
    at = [one.to(windows.device) for one in torch.unravel_index(index, places)]
    return windows[tuple(at)].flatten(1).float()


def _windows(
    input: torch.Tensor, kernel: Sequence[int], stride: Size, padding: Size | str, dilation: Size
) -> torch.Tensor:
    """Make a view [N, positions ..., C, kernel ...] of the padded input [N, C, ...]."""
    axes = len(kernel)
    dilations, strides = _each(dilation, axes), _each(stride, axes)
    spans = [step * (size - 1) + 1 for size, step in zip(kernel, dilations, strict=True)]
    windows = F.pad(input, _padding(padding, spans))
    for axis, (span, step, every) in enumerate(zip(spans, strides, dilations, strict=True)):
        windows = windows.unfold(axis + 2, span, step)[..., ::every]
    return windows.movedim(1, axes + 1)


def _padding(padding: Size | str, spans: Sequence[int]) -> list[int]:
    """The arguments of `F.pad`: zeros before and after each axis, the last axis first."""
    if padding == "same":
        sides = [((span - 1) // 2, span // 2) for span in spans]
    else:
        sizes = _each(0 if isinstance(padding, str) else padding, len(spans))
        sides = [(size, size) for size in sizes]
    return [size for side in reversed(sides) for size in side]


def _each(size: Size, axes: int) -> list[int]:
    sizes = [size] if isinstance(size, int) else list(size)
    return sizes * axes if len(sizes) == 1 else sizes
