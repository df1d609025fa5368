"""Recognizes operators by the parameters they are called with, and shows them to a callback."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from vaecomp_native.calibration.maps import LinearMap

Callback = Callable[[LinearMap, torch.Tensor, torch.Tensor], None]
"""A function of a map, its inputs float32 [M, columns] and its outputs [M, rows]."""

Visitor = Callable[[LinearMap], Callback | None]
"""A function asked at each use of an operator. It gives a callback if that is to be shown."""

Hook = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""A function of inputs [M, columns] and outputs [M, rows]. The module uses its result instead."""


LookupCallback = Callable[[str, torch.Tensor, torch.Tensor], None]
"""A function of a table's name, the rows looked up int64 [M], and these rows [M, columns]."""


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
        callback = self._visit(linear_map)
        return None if callback is None else partial(_show, callback, linear_map)


def _show(
    callback: Callback, linear_map: LinearMap, inputs: torch.Tensor, outputs: torch.Tensor
) -> torch.Tensor:
    outputs = with_gradient(outputs)
    callback(linear_map, inputs.detach().float(), outputs)
    # The module may change its copy in place.
    return outputs.clone()


def with_gradient(outputs: torch.Tensor) -> torch.Tensor:
    """The outputs as part of the autograd graph, where gradients are on."""
    if torch.is_grad_enabled() and not outputs.requires_grad:
        return outputs.detach().requires_grad_()
    return outputs
