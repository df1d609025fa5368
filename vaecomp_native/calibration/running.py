"""Runs a module on calibration batches and checks its outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from vaecomp_native.calibration.outputs import Outputs, numbers, outputs_of
from vaecomp_native.errors import CalibrationError, in_one_line

Batch = torch.Tensor | tuple[Any, ...] | list[Any] | Mapping[str, Any]
"""Arguments of one call: a tensor, positional arguments, or keyword arguments."""

WRAPPERS = nn.DataParallel, nn.parallel.DistributedDataParallel
"""Modules that run another one, their attribute `module`."""


def run(module: nn.Module, batch: Batch, *, number: int = 0) -> Outputs:
    """Run the module on a batch. Gives all floating-point outputs, as float32 or complex64.

    `outputs_of` says what a result may be. Raises CalibrationError, which names the batch by its
    `number`, if the module rejects the batch, gives no floating-point output, or gives one that is
    not finite.
    """
    found = results(module, batch, number=number)
    outputs = {name: [numbers(one) for one in output] for name, output in found.items()}
    if not all(bool(torch.isfinite(one).all()) for output in outputs.values() for one in output):
        raise CalibrationError(
            f"the module's output for calibration batch {number} is not finite: check its weights "
            "and the batch"
        )
    return outputs


def results(module: nn.Module, batch: Batch, *, number: int = 0) -> dict[str, list[torch.Tensor]]:
    """Run the module and give the tensors of its result. Raises CalibrationError like `run`."""
    if _is_empty(batch):
        raise CalibrationError(f"calibration batch {number} is empty: leave it out")
    try:
        result = _call(unwrapped(module), batch)
    except Exception as error:
        raise CalibrationError(
            f"the module rejects calibration batch {number}: {in_one_line(error)}; {_remedy(batch)}"
        ) from error
    found = outputs_of(result)
    if not found:
        raise CalibrationError(
            f"the module gives no floating-point output for calibration batch {number}"
        )
    if any(one.is_meta for output in found.values() for one in output):
        raise CalibrationError(
            f"the module's output for calibration batch {number} has no values: the batch or a "
            "part of the module is on the meta device"
        )
    return found


def outputs(
    module: nn.Module, batches: Sequence[Batch], *, first: int = 0, stride: int = 1
) -> Iterator[Outputs]:
    """Yield the outputs of one batch in `stride`, as `run` gives them: together they may be many.

    The module runs in evaluation mode and without gradients. Errors count batches from `first` on.
    """
    with evaluation(module), torch.no_grad():
        for number in range(0, len(batches), stride):
            yield run(module, batches[number], number=first + number)


@contextmanager
def evaluation(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block. Afterwards every submodule's flag is what it was."""
    flags = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in flags:
            part.training = training


@contextmanager
def ordinary_tensors(module: nn.Module) -> Iterator[None]:
    """Inside, tensors made in `torch.inference_mode`, which stops gradients, are copies."""
    copies: dict[int, torch.Tensor] = {}
    replaced: list[tuple[nn.Module, str, torch.Tensor]] = []
    try:
        for part in module.modules():
            for name, tensor in [*part._parameters.items(), *part._buffers.items()]:
                if tensor is not None and tensor.is_inference():
                    if id(tensor) not in copies:
                        copies[id(tensor)] = _ordinary(tensor)
                    replaced.append((part, name, tensor))
                    setattr(part, name, copies[id(tensor)])
        yield
    finally:
        for part, name, tensor in replaced:
            setattr(part, name, tensor)


def unwrapped(module: nn.Module) -> nn.Module:
    """Find the module that a compiled or parallel one runs: only in it operators can be seen."""
    while True:
        inner = module.module if isinstance(module, WRAPPERS) else module
        inner = getattr(inner, "_orig_mod", inner)
        if inner is module:
            return module
        module = inner


def _call(module: nn.Module, batch: Batch) -> Any:
    if torch.is_grad_enabled():
        batch = _without_inference(batch)
    if isinstance(batch, torch.Tensor):
        return module(batch)
    if isinstance(batch, Mapping):
        return module(**batch)
    return module(*batch)


def _without_inference(value: Any) -> Any:
    """Copy tensors made under `torch.inference_mode`, because autograd cannot save them."""
    if isinstance(value, torch.Tensor):
        return value.clone() if value.is_inference() else value
    if isinstance(value, Mapping):
        return {key: _without_inference(part) for key, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_without_inference, value))
    return value


def _ordinary(tensor: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode(False):
        copy = tensor.detach().clone()
        if not isinstance(tensor, nn.Parameter):
            return copy
        return nn.Parameter(copy, requires_grad=tensor.requires_grad)


def _is_empty(batch: Batch) -> bool:
    """Whether the first of its arguments is a tensor without elements."""
    parts = batch.values() if isinstance(batch, Mapping) else batch
    first = batch if isinstance(batch, torch.Tensor) else next(iter(parts), None)
    return isinstance(first, torch.Tensor) and first.numel() == 0


def _remedy(batch: Batch) -> str:
    remedy = "a batch is a tensor, a tuple of positional arguments or a dict of keyword arguments"
    if isinstance(batch, tuple | list) and len(batch) > 1:
        return (
            f"{remedy}; if it holds labels, drop them: Calibration(batches, inputs=lambda "
            "batch: batch[0]); if it is one argument: inputs=lambda batch: (batch,)"
        )
    if isinstance(batch, Mapping):
        return f"{remedy}; drop what is not the module's with Calibration(batches, inputs=...)"
    return remedy
