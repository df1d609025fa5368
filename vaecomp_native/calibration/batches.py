"""Calibration batches as they are given: what of them goes into the module."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np
import torch
from torch import nn

from vaecomp_native.calibration.config import Inputs
from vaecomp_native.calibration.running import Batch, unwrapped
from vaecomp_native.errors import CalibrationError, in_one_line

POSITIONAL = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD


def picked(
    batches: Iterable[Any], inputs: Inputs | None, module: nn.Module, *, of: str = ""
) -> Sequence[Batch]:
    """The module's inputs of each batch: what `inputs` picks, or the batch itself.

    A sequence may make its batches when they are asked for; other iterables are read at once.
    Raises ValueError for what are no batches, and CalibrationError, naming the batch, if there are
    none, if one cannot be a module's inputs, or if without `inputs` a part of it may be labels.
    Errors say whose batch it is: `of` may be " of member 3".
    """
    if isinstance(batches, torch.Tensor | np.ndarray | Mapping | str | bytes):
        raise ValueError("calibration is one batch; give a list of batches")
    if not isinstance(batches, Iterable):
        raise ValueError(f"calibration is of type {type(batches).__name__}; give a list of batches")
    if inputs is not None and not callable(inputs):
        raise ValueError(
            f"inputs is of type {type(inputs).__name__}; give a function of a batch, as "
            "lambda batch: batch[0]"
        )
    given = batches if isinstance(batches, Sequence) else list(_read(batches, of))
    if len(given) == 0:
        raise CalibrationError(
            f"there are no calibration batches{of}: give at least one; an iterator is used up by "
            "one run"
        )
    return _Picked(given, inputs, module, of)


class _Picked(Sequence[Batch]):
    """Batches, each picked and checked when it is asked for."""

    def __init__(
        self, given: Sequence[Any], inputs: Inputs | None, module: nn.Module, of: str
    ) -> None:
        self._given = given
        self._inputs = inputs
        self._module = unwrapped(module)
        self._of = of

    def __len__(self) -> int:
        return len(self._given)

    @overload
    def __getitem__(self, number: int) -> Batch: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Batch]: ...
    def __getitem__(self, number: int | slice) -> Batch | Sequence[Batch]:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        batch: Batch = self._given[number]
        which = f"calibration batch {number}{self._of}"
        if self._inputs is None:
            _check_kind(batch, which)
            _check_labels(batch, which, self._module)
            return batch
        try:
            batch = self._inputs(batch)
        except Exception as error:
            raise CalibrationError(f"inputs fails for {which}: {in_one_line(error)}") from error
        _check_kind(batch, which)
        return batch

    def __iter__(self) -> Iterator[Batch]:
        return (self[i] for i in range(len(self)))


def _read(batches: Iterable[Any], of: str) -> Iterator[Any]:
    number = 0
    try:
        for batch in batches:
            yield batch
            number += 1
    except Exception as error:
        raise CalibrationError(
            f"reading calibration batch {number}{of} raised {in_one_line(error)}"
        ) from error


def _check_kind(batch: Any, which: str) -> None:
    if isinstance(batch, torch.Tensor | tuple | list | Mapping):
        return
    remedy = (
        "torch.from_numpy makes a tensor of it"
        if isinstance(batch, np.ndarray)
        else "a batch is a tensor, a tuple of positional arguments or a dict of keyword arguments"
    )
    raise CalibrationError(
        f"{which} is of type {type(batch).__name__}: {remedy}; pick the module's "
        "inputs from a batch with Calibration(batches, inputs=...)"
    )


def _check_labels(batch: Batch, which: str, module: nn.Module) -> None:
    """Refuse what looks like labels where the module might take it for something else."""
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        return
    arguments = _arguments(module, len(batch))
    if len(arguments) < len(batch):
        return  # the module will not take it
    for place, (part, argument) in enumerate(zip(batch, arguments, strict=False)):
        required = argument.default is argument.empty and argument.kind in POSITIONAL
        if place > 0 and _may_be_labels(batch[0], part, required=required):
            raise CalibrationError(
                f"element {place} of {which}, {_described(part)}, may be labels, and would go into "
                f"the module as '{argument.name}': pick its inputs with "
                "Calibration(batches, inputs=lambda batch: batch[0]), or say with inputs=tuple that "
                "all are inputs"
            )


def _arguments(module: nn.Module, count: int) -> list[inspect.Parameter]:
    """The first `count` positional arguments of a module, or as many as there are."""
    known = list(inspect.signature(module.forward).parameters.values())
    named = [one for one in known if one.kind in POSITIONAL]
    rest = [one for one in known if one.kind is one.VAR_POSITIONAL]
    return (named + count * rest)[:count]


def _may_be_labels(samples: Any, part: Any, *, required: bool) -> bool:
    """Whether there is one for each sample; where the module needs it, if they may be classes."""
    count = _length(samples)
    if count is None or _length(part) != count:
        return False
    if not required:
        return True
    if not isinstance(part, torch.Tensor) or not isinstance(samples, torch.Tensor):
        return False
    whole = not part.is_floating_point() and not part.is_complex()
    return whole and part.dim() == 1 and samples.dim() > 1


def _length(part: Any) -> int | None:
    if isinstance(part, torch.Tensor | np.ndarray):
        return int(part.shape[0]) if part.ndim > 0 else None
    if isinstance(part, Mapping):
        return next((_length(one) for one in part.values()), None)
    return len(part) if isinstance(part, list | tuple) else None


def _described(part: Any) -> str:
    if isinstance(part, torch.Tensor):
        return f"{str(part.dtype).removeprefix('torch.')} {list(part.shape)}"
    return f"a {type(part).__name__} of length {len(part)}"
