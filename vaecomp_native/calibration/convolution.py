"""Convolutions as linear maps of the windows that they look at."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from vaecomp_native.calibration.hooks import Hook, Hooks

FUNCTIONS = (F.conv1d, F.conv2d, F.conv3d)

PART_ITEMS = 1 << 24
"""Numbers in the windows that are laid out at a time; more samples come in several parts."""

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
    """`convolve`, one of `FUNCTIONS`, with its windows and outputs shown to the hook."""
    outputs = convolve(input, weight, bias, stride, padding, dilation, groups)
    hook = hooks.hook([weight], [bias], groups=groups)
    if hook is None:
        return outputs
    batched = input.dim() == weight.dim()
    if not batched:
        input, outputs = input[None], outputs[None]
    windows = _windows(input, weight.shape[2:], stride, padding, dilation)
    samples = max(1, PART_ITEMS // math.prod(windows.shape[1:]))
    parts = zip(torch.split(windows, samples), torch.split(outputs, samples), strict=True)
    shown = torch.cat([_shown(hook, *part, groups) for part in parts]).contiguous()
    return shown if batched else shown[0]


def _shown(hook: Hook, windows: torch.Tensor, outputs: torch.Tensor, groups: int) -> torch.Tensor:
    """Outputs [N, C', positions ...] of windows [N, positions ..., C, kernel ...], group by group."""
    channels = outputs.dim() - 1
    last = outputs.movedim(1, -1).chunk(groups, -1)
    shown = [
        hook(x.flatten(channels).flatten(0, -2), y.flatten(0, -2)).reshape(y.shape)
        for x, y in zip(windows.chunk(groups, channels), last, strict=True)
    ]
    return torch.cat(shown, -1).movedim(-1, 1)


def _windows(
    input: torch.Tensor, kernel: Sequence[int], stride: Size, padding: Size | str, dilation: Size
) -> torch.Tensor:
    """A view [N, positions ..., C, kernel ...] of the padded input [N, C, ...]."""
    axes = len(kernel)
    dilations, strides = _each(dilation, axes), _each(stride, axes)
    spans = [step * (size - 1) + 1 for size, step in zip(kernel, dilations, strict=True)]
    windows = F.pad(input, _padding(padding, spans))
    for axis, (span, step, every) in enumerate(zip(spans, strides, dilations, strict=True)):
        windows = windows.unfold(axis + 2, span, step)[..., ::every]
    return windows.movedim(1, axes + 1)


def _padding(padding: Size | str, spans: Sequence[int]) -> list[int]:
    """Zeros before and after each axis, the last axis first, as `F.pad` takes them."""
    if padding == "same":
        sides = [((span - 1) // 2, span // 2) for span in spans]
    else:
        sizes = _each(0 if isinstance(padding, str) else padding, len(spans))
        sides = [(size, size) for size in sizes]
    return [size for side in reversed(sides) for size in side]


def _each(size: Size, axes: int) -> list[int]:
    sizes = [size] if isinstance(size, int) else list(size)
    return sizes * axes if len(sizes) == 1 else sizes
