"""Recognizes operators by the parameters they are called with, and shows them to a callback."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from vaecomp_native.calibration.maps import LinearMap

Callback = Callable[[LinearMap, torch.Tensor, torch.Tensor], None]
"""Called as ``callback(map, inputs, outputs)``: inputs float32 [M, columns] and outputs [M, rows]."""

Visitor = Callable[[LinearMap], Callback | None]
"""Asked for each operator at each use; gives a callback if it is to be shown."""

Hook = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Shows inputs [M, columns] and outputs [M, rows]; the module goes on with the result [M, rows]."""


def layer_name(weight: str) -> str:
    """The path of the layer that owns a weight; the weight's own name if it is not called so."""
    return weight.removesuffix(".weight")


class Hooks:
    """The hooks on one module's operators that a visitor asks for."""

    def __init__(self, module: nn.Module, visit: Visitor) -> None:
        self._names = {id(parameter): name for name, parameter in module.named_parameters()}
        self._visit = visit

    def hook(
        self,
        weights: Sequence[torch.Tensor],
        biases: Sequence[torch.Tensor | None],
        *,
        groups: int = 1,
        name: Callable[[str], str] = layer_name,
    ) -> Hook | None:
        """A hook on the operator of these tensors, if they are parameters and the visitor wants it.

        `name` makes the map's name of the first weight's. A bias that is no parameter is not the map's.
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
    if torch.is_grad_enabled() and not outputs.requires_grad:
        outputs = outputs.detach().requires_grad_()
    callback(linear_map, inputs.detach().float(), outputs)
    # The module may change its copy in place.
    return outputs.clone()
