"""Recognizes operators by the parameters they are called with, and shows them to observers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from vaecomp_native.calibration.maps import LinearMap

Sampler = Callable[[int, int], torch.Tensor]
"""A function of a limit and a seed that gives an operator's inputs float32 [M, columns].

They are those at up to `limit` random positions, in order. A convolution has as many inputs at each
position as it has groups. Calls with equal numbers of positions choose the same ones.
"""

Before = Callable[[LinearMap, Sampler], bool]
"""A function called before an operator runs. It says whether it gave it other parameters."""

Callback = Callable[[LinearMap, Sampler, torch.Tensor], None]
"""A function of a map, its inputs, and its outputs [..., rows] at all positions."""

LookupCallback = Callable[[str, torch.Tensor, torch.Tensor], None]
"""A function of a table's name, the rows looked up int64 [M], and these rows [M, columns]."""


@dataclass(frozen=True)
class Observer:
    """What is called before an operator runs, and after it."""

    before: Before | None = None
    after: Callback | None = None


Visitor = Callable[[LinearMap], Observer | None]
"""A function asked at each use of an operator. It gives an observer if that is to be shown."""


@dataclass(frozen=True)
class Hook:
    """An observer of one use of an operator."""

    linear_map: LinearMap
    observer: Observer

    def before(self, sampler: Sampler) -> bool:
        """Show inputs before the operator runs, if that is wanted. Says if parameters changed."""
        before = self.observer.before
        return before is not None and before(self.linear_map, sampler)

    @property
    def wants_outputs(self) -> bool:
        """Whether `after` shows anything."""
        return self.observer.after is not None

    def after(self, sampler: Sampler, outputs: torch.Tensor) -> torch.Tensor:
        """Show inputs and outputs [..., rows]. The module uses the result instead."""
        outputs = with_gradient(outputs)
        self.show(sampler, outputs)
        # The module may change its copy in place.
        return outputs.clone()

    def show(self, sampler: Sampler, outputs: torch.Tensor) -> None:
        """Show them where the module uses the outputs already."""
        if self.observer.after is not None:
            self.observer.after(self.linear_map, sampler, outputs)


def layer_name(weight: str) -> str:
    """The path of the layer that owns a weight; the weight's own name if it does not tell."""
    return weight.removesuffix(".weight")


class Hooks:
    """The hooks on one module's operators that a visitor asks for."""

    def __init__(self, module: nn.Module, visit: Visitor) -> None:
        self._names = {id(parameter): name for name, parameter in module.named_parameters()}
        self._visit = visit

    def name_of(self, parameter: torch.Tensor) -> str | None:
        """The state dict's name of a tensor, if that is one of the module's parameters."""
        return self._names.get(id(parameter))

    def hook(
        self,
        weights: Sequence[torch.Tensor],
        biases: Sequence[torch.Tensor | None],
        *,
        groups: int = 1,
        name: Callable[[str], str] = layer_name,
    ) -> Hook | None:
        """Make a hook on the operator of these tensors, if they are parameters and it is wanted.

        `name` makes the map's name from the first weight's name. The map leaves out a bias that is
        no parameter.
        """
        if any(id(weight) not in self._names or weight.numel() == 0 for weight in weights):
            return None
        rows = weights[0].shape[0]
        linear_map = LinearMap(
            name=name(self._names[id(weights[0])]),
            weights=tuple(self._names[id(weight)] for weight in weights),
            biases=tuple(self._names[id(bias)] for bias in biases if id(bias) in self._names),
            rows=rows,
            columns=sum(weight.numel() for weight in weights) // rows,
            shapes=tuple(tuple(weight.shape) for weight in weights),
            groups=groups,
        )
        observer = self._visit(linear_map)
        return None if observer is None else Hook(linear_map, observer)


def with_gradient(outputs: torch.Tensor) -> torch.Tensor:
    """The outputs as part of the autograd graph, where gradients are on."""
    if torch.is_grad_enabled() and not outputs.requires_grad:
        return outputs.detach().requires_grad_()
    return outputs


def chosen(count: int, limit: int, seed: int) -> torch.Tensor:
    """Choose up to `limit` of `count` positions at random: int64, in order."""
    if count <= limit:
        return torch.arange(count, device="cpu")
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randperm(count, generator=generator, device="cpu")[:limit].sort().values


def sampler_of(inputs: torch.Tensor) -> Sampler:
    """A sampler of inputs [..., columns]."""

    def sample(limit: int, seed: int) -> torch.Tensor:
        rows = inputs.detach().reshape(-1, inputs.shape[-1])
        index = chosen(len(rows), limit, seed)
        return rows[index.to(rows.device)].float()

    return sample
