"""Finds a module's linear operators while it runs, and shows their inputs and outputs.

Operators are torch functions called with the module's own parameters. The caller may be a layer of
`torch.nn`, a subclass of one, or any forward method.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from vaecomp_native.calibration import attention, convolution, recurrent
from vaecomp_native.calibration.hooks import (
    Callback,
    Hooks,
    LookupCallback,
    Observer,
    Visitor,
    sampler_of,
    with_gradient,
)
from vaecomp_native.calibration.maps import LinearMap
from vaecomp_native.calibration.running import Batch, evaluation, run


def find_linear_maps(module: nn.Module, batch: Batch) -> tuple[LinearMap, ...]:
    """Find the linear operators that a run of the module in evaluation mode uses, in order.

    They come from linear layers, convolutions, attention (input projections of self-attention,
    output projections) and recurrent layers (without projections, on padded sequences). A parameter
    belongs to one map only: an operator that shares some parameters with an earlier one is no map,
    and one that shares all of them is the same map. Raises CalibrationError like `run`.
    """
    uses: dict[LinearMap, int] = {}
    taken: set[str] = set()

    def note(linear_map: LinearMap) -> None:
        if taken.isdisjoint(linear_map.parameters):
            taken.update(linear_map.parameters)
            uses[linear_map] = 0
        if linear_map in uses:
            uses[linear_map] += 1

    with evaluation(module), torch.no_grad(), intercepted(module, note):
        run(module, batch)
    return tuple(replace(linear_map, uses=count) for linear_map, count in uses.items())


@contextmanager
def hooked(
    module: nn.Module,
    maps: Iterable[LinearMap],
    callback: Callback,
    lookup: LookupCallback | None = None,
) -> Iterator[None]:
    """Inside, a run of the module calls `callback(map, inputs, outputs)` for each of `maps`.

    `Sampler` says how inputs are had, during the call only. Outputs are [..., rows]. Where
    gradients are on they are part of the autograd graph, even if all parameters are frozen, and the
    module's result depends on them. The module's results stay the same up to float rounding.

    An embedding that looks up rows of a map's weight calls `lookup`, if it is given.
    """
    wanted = frozenset(maps)
    tables = {} if lookup is None else {n: lookup for one in wanted for n in one.weights}
    observer = Observer(after=callback)
    with intercepted(module, lambda one: observer if one in wanted else None, tables):
        yield


@contextmanager
def intercepted(
    module: nn.Module, visit: Visitor, lookups: Mapping[str, LookupCallback] | None = None
) -> Iterator[None]:
    """Inside, a run of the module asks `visit` at each use of an operator, and shows it so.

    Embeddings call the function that `lookups` has for their table.
    """
    with fused_kernels_off(), _Interception(Hooks(module, visit), lookups or {}):
        yield


@contextmanager
def fused_kernels_off() -> Iterator[None]:
    """Inside, torch does without the kernels for attention that hide the operators in them."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


class _Interception(TorchFunctionMode):
    """Runs torch's linear operators in versions that show what is inside them."""

    def __init__(self, hooks: Hooks, lookups: Mapping[str, LookupCallback]) -> None:
        super().__init__()
        self._hooks = hooks
        self._lookups = lookups

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        options = kwargs or {}
        if func is F.linear:
            return self._linear(*args, **options)
        if func is F.multi_head_attention_forward:
            return attention.run(self._linear, *args, **options)
        if func in convolution.FUNCTIONS:
            return convolution.run(self._hooks, func, *args, **options)
        if func in recurrent.FUNCTIONS:
            return recurrent.run(self._hooks, func, *args, **options)
        if func is F.embedding:
            return self._embedding(*args, **options)
        return func(*args, **options)

    def _embedding(
        self, input: torch.Tensor, weight: torch.Tensor, *args: Any, **options: Any
    ) -> torch.Tensor:
        outputs = F.embedding(input, weight, *args, **options)
        name = self._hooks.name_of(weight)
        if name is None or name not in self._lookups:
            return outputs
        rows = with_gradient(outputs).reshape(-1, weight.shape[1])
        self._lookups[name](name, input.reshape(-1), rows)
        return rows.clone().reshape(outputs.shape)

    def _linear(
        self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        hook = self._hooks.hook([weight], [bias]) if weight.dim() == 2 else None
        if hook is not None:
            hook.before(sampler_of(input))
        outputs = F.linear(input, weight, bias)
        if hook is None or not hook.wants_outputs:
            return outputs
        return hook.after(sampler_of(input), outputs)
