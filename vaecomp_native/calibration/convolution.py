"""Convolutions as linear maps of windows of their inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from vaecomp_native.calibration.hooks import Hook, Hooks, chosen

FUNCTIONS = (F.conv1d, F.conv2d, F.conv3d)

PART_ITEMS = 1 << 24
"""The maximum numbers in windows laid out at a time. More samples come in several parts."""

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

    def windows_of_input() -> torch.Tensor:
        samples = input if batched else input[None]
        return _windows(samples, weight.shape[2:], stride, padding, dilation)

    def sample(limit: int, seed: int) -> torch.Tensor:
        return _some(windows_of_input().detach(), weight.dim() - 1, limit, seed)

    if hook is not None:
        hook.before(sample)
    outputs = convolve(input, weight, bias, stride, padding, dilation, groups)
    if hook is None or not hook.wants_outputs:
        return outputs
    if not batched:
        outputs = outputs[None]
    windows = windows_of_input()
    samples = max(1, PART_ITEMS // math.prod(windows.shape[1:]))
    parts = zip(torch.split(windows, samples), torch.split(outputs, samples), strict=True)
    shown = torch.cat([_shown(hook, *part, groups) for part in parts]).contiguous()
    return shown if batched else shown[0]


def _shown(hook: Hook, windows: torch.Tensor, outputs: torch.Tensor, groups: int) -> torch.Tensor:
    """Show windows [N, positions ..., C, kernel ...] and outputs [N, C', positions ...]."""
    channels = outputs.dim() - 1
    last = outputs.movedim(1, -1).chunk(groups, -1)
    shown = [
        hook.after(x.flatten(channels).flatten(0, -2), y.flatten(0, -2)).reshape(y.shape)
        for x, y in zip(windows.chunk(groups, channels), last, strict=True)
    ]
    return torch.cat(shown, -1).movedim(-1, 1)


def _some(windows: torch.Tensor, axes: int, limit: int, seed: int) -> torch.Tensor:
    """Lay out windows at random places of the first `axes` axes, for operators of one group."""
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
