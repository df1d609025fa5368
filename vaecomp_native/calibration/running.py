"""Runs a module on calibration batches and checks what it gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from vaecomp_native.errors import CalibrationError

Batch = torch.Tensor | tuple[Any, ...] | list[Any] | Mapping[str, Any]
"""Arguments of one call: a tensor, positional arguments, or keyword arguments."""


def run(module: nn.Module, batch: Batch, *, number: int = 0) -> torch.Tensor:
    """The module's output for a batch as float32: the first floating-point tensor of the result.

    The result may be a tensor, a tuple, list or mapping of results, or an object whose `logits` are
    one. Raises CalibrationError, which names the batch by its `number`, if the module rejects the
    batch, or gives no floating-point output or one that is not finite.
    """
    try:
        result = _call(module, batch)
    except Exception as error:
        raise CalibrationError(
            f"the module rejects calibration batch {number}: {_line(error)}; a batch is a tensor, "
            "a tuple of positional arguments or a dict of keyword arguments"
        ) from error
    output = next(_floating(result), None)
    if output is None or output.numel() == 0:
        raise CalibrationError(
            f"the module gives no floating-point output for calibration batch {number}"
        )
    if not bool(torch.isfinite(output).all()):
        raise CalibrationError(
            f"the module's output for calibration batch {number} is not finite: check its weights "
            "and the batch"
        )
    return output.float()


def outputs(module: nn.Module, batches: Sequence[Batch]) -> list[torch.Tensor]:
    """What `run` gives for each batch, in evaluation mode and without gradients."""
    with evaluation(module), torch.no_grad():
        return [run(module, batch, number=number) for number, batch in enumerate(batches)]


@contextmanager
def evaluation(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; afterwards every submodule's flag is what it was."""
    flags = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in flags:
            part.training = training


def _call(module: nn.Module, batch: Batch) -> Any:
    if isinstance(batch, torch.Tensor):
        return module(batch)
    if isinstance(batch, Mapping):
        return module(**batch)
    return module(*batch)


def _floating(result: Any) -> Iterator[torch.Tensor]:
    if isinstance(result, torch.Tensor):
        if result.is_floating_point():
            yield result
    elif hasattr(result, "logits"):
        # Results of Hugging Face models are mappings that may begin with a loss.
        yield from _floating(result.logits)
    elif isinstance(result, Mapping | tuple | list):
        for part in result.values() if isinstance(result, Mapping) else result:
            yield from _floating(part)


def _line(error: Exception) -> str:
    """The error's kind and the first line of its message."""
    message = str(error).strip().splitlines()
    return f"{type(error).__name__}: {message[0]}" if message else type(error).__name__
