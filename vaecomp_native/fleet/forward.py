"""The integer decoder as a differentiable function of latents that are not yet integers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from vaecomp_native.codecs.vae.rounding import round_straight_through
from vaecomp_native.decoders import Float32Array, IntegerLayer
from vaecomp_native.fleet.decoder import MAX_SYMBOL, UNIT
from vaecomp_native.fleet.group import Group

Layer = Callable[[torch.Tensor], torch.Tensor]


def forward_of(
    base: Float32Array, groups: Sequence[Group]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The map from latents float32 [L], in standard deviations, to a member's vector [P].

    That is `base` [P], in the groups' order, and what the groups' decoders add to it. Hidden
    activations are rounded as the decoder rounds them, with the derivative of the identity.
    """
    offset = torch.from_numpy(base)
    parts = [_group(group) for group in groups]

    def forward(latents: torch.Tensor) -> torch.Tensor:
        return offset + torch.cat([part(latents * UNIT) for part in parts])

    return forward


def _group(group: Group) -> Layer:
    size = sum(map(math.prod, group.shapes.values()))
    position = torch.from_numpy(group.position.astype(np.float32))
    own = [i for first, count in group.slices for i in range(first, first + count)]
    layers = [_layer(layer) for layer in group.decoder.layers]

    def forward(latents: torch.Tensor) -> torch.Tensor:
        x = torch.cat([latents[own].expand(len(position), -1), position], 1)
        for layer in layers:
            x = layer(x)
        return x.reshape(-1)[:size]

    return forward


def _layer(layer: IntegerLayer) -> Layer:
    weight = torch.from_numpy(layer.weight.astype(np.float32))
    bias = torch.from_numpy(layer.bias.astype(np.float32))
    if layer.scale is not None:
        return partial(
            _last,
            weight * torch.from_numpy(layer.scale)[:, None],
            bias * torch.from_numpy(layer.scale),
        )
    assert layer.multiplier is not None
    assert layer.shift is not None
    gain = np.ldexp(layer.multiplier.astype(np.float64), -layer.shift.astype(np.int32))
    return partial(_hidden, weight, bias, torch.from_numpy(gain.astype(np.float32)))


def _last(weight: torch.Tensor, bias: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.linear(x, weight, bias)


def _hidden(
    weight: torch.Tensor, bias: torch.Tensor, gain: torch.Tensor, x: torch.Tensor
) -> torch.Tensor:
    return round_straight_through(torch.nn.functional.linear(x, weight, bias) * gain).clamp(
        0, MAX_SYMBOL
    )
