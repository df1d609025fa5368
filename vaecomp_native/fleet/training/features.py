"""What a decoder's columns are multiplied by: a 1, and the latents or a hidden layer of them."""

from __future__ import annotations

import torch

from vaecomp_native.codecs.vae.rounding import round_straight_through
from vaecomp_native.fleet.decoder import MAX_SYMBOL, UNIT, HiddenLayer, LatentPlan
from vaecomp_native.fleet.layout import Layout
from vaecomp_native.fleet.training.components import Components


class Features:
    """Features of each block: `rows` of the vector, and the latents that these depend on.

    There may be a hidden layer between: relu(weight [H, l] @ latents + bias [H]), rounded as the
    integer decoder rounds it.
    """

    def __init__(self, layout: Layout, plan: LatentPlan, seed: int) -> None:
        rows = [slice(block.start, block.stop) for block in layout.blocks.values()]
        self.rows = rows if plan.local else [slice(0, layout.size)]
        self.latents = [plan.indices(number) for number in range(len(self.rows))]
        generator = torch.Generator().manual_seed(seed)
        self.layers: list[tuple[torch.Tensor, torch.Tensor]] = []
        if plan.hidden:
            self.layers = [_first_layer(plan, generator) for _ in self.rows]

    @property
    def parameters(self) -> list[torch.Tensor]:
        """Of the hidden layers."""
        return [tensor for layer in self.layers for tensor in layer]

    def of(self, latents: torch.Tensor) -> list[torch.Tensor]:
        """For latents [B, L] those of each block, [B, 1 + n]; differentiable."""
        ones = torch.ones(len(latents), 1)
        found = [latents[:, own] for own in self.latents]
        if self.layers:
            found = [_activations(x, *layer) for x, layer in zip(found, self.layers, strict=True)]
        return [torch.cat([ones, x], 1) for x in found]

    def absorb(self, mean: torch.Tensor, deviation: torch.Tensor) -> None:
        """Make hidden layers take (latents - mean) / deviation and give what they gave."""
        with torch.no_grad():
            for own, (weight, bias) in zip(self.latents, self.layers, strict=True):
                bias += weight @ mean[own]
                weight *= deviation[own]

    def hidden(self) -> list[HiddenLayer]:
        """The hidden layers as arrays."""
        return [
            HiddenLayer(weight.detach().numpy().copy(), bias.detach().numpy().copy())
            for weight, bias in self.layers
        ]


def first_columns(start: Components, plan: LatentPlan) -> torch.Tensor:
    """Columns [P, 1 + n] that make of features what principal components make of latents."""
    columns = torch.from_numpy(start.columns)
    if not plan.hidden:
        return columns.clone()
    mean, linear = columns[:, :1], columns[:, 1:]
    more = torch.zeros(len(columns), plan.hidden - 2 * plan.inputs)
    return torch.cat([mean, linear, -linear, more], 1)


def _first_layer(plan: LatentPlan, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Units for the positive and negative part of each latent, and others of random directions."""
    more = plan.hidden - 2 * plan.inputs
    identity = torch.eye(plan.inputs)
    directions = torch.randn(more, plan.inputs, generator=generator) / plan.inputs**0.5
    weight = torch.cat([identity, -identity, directions]).requires_grad_()
    bias = torch.cat([torch.zeros(2 * plan.inputs), torch.full((more,), -0.5)]).requires_grad_()
    return weight, bias


def _activations(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    scaled = torch.nn.functional.linear(x, weight, bias) * UNIT
    return round_straight_through(scaled).clamp(0, MAX_SYMBOL) / UNIT
