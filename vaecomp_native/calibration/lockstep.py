"""Runs a module on all batches side by side, operator by operator.

Every run stops before each operator and shows its inputs. While all runs stand there, the caller
gives the operator new weights, and the runs go on with them. One run of each batch keeps the
original weights. So an operator's inputs now and before are both at hand, each run goes through the
module once, and the work grows with the depth, whatever the module looks like.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from vaecomp_native.calibration.hooks import Observer, Sampler
from vaecomp_native.calibration.interception import fused_kernels_off, intercepted
from vaecomp_native.calibration.maps import LinearMap
from vaecomp_native.calibration.moments import products, rows_for
from vaecomp_native.calibration.pausing import Pausing
from vaecomp_native.calibration.running import Batch, evaluation, run

Float64Array = npt.NDArray[np.float64]

MAX_RUNS = 256
"""The maximum number of runs side by side, each in a thread of its own."""
WATCHED_ROWS = 256
"""The number of an operator's inputs that show whether runs disturb each other."""
TOLERANCE = 1e-3
"""How far the sum of these may be off, in relation to the sum of their magnitudes."""


@dataclass(frozen=True)
class InputMoments:
    """Second moments of an operator's inputs, float64 [n, n]: means over the same positions.

    `now` are those of the inputs now, and `cross` of the original inputs (rows) with those now.
    With a bias the inputs end with a 1.
    """

    now: Float64Array
    cross: Float64Array


@dataclass(frozen=True)
class _Stop:
    """An operator that a run stands at, and its inputs there."""

    linear_map: LinearMap
    inputs: Sampler


_Run = Pausing[_Stop]


@dataclass(frozen=True)
class _Runs:
    """The runs of one batch: with the original weights, and with those of each variant."""

    original: _Run
    variants: Sequence[_Run]

    def __iter__(self) -> Iterator[_Run]:
        yield from (self.original, *self.variants)

    def samplers(self, linear_map: LinearMap, variant: int) -> tuple[Sampler, Sampler] | None:
        """The inputs of an operator, originally and in a variant, if both runs stand there."""
        stops = self.original.at, self.variants[variant].at
        before, now = (one if one and one.linear_map == linear_map else None for one in stops)
        return None if before is None or now is None else (before.inputs, now.inputs)


def lockstep(
    module: nn.Module,
    batches: Sequence[Batch],
    maps: Collection[LinearMap],
    variants: Sequence[Mapping[str, torch.Tensor]],
) -> Iterator[tuple[LinearMap, list[InputMoments | None]]]:
    """Yield each of `maps` that runs reach, in order of execution, with moments of its inputs.

    Convolutions among `maps` have one group. There are as many moments as `variants`. A variant
    holds tensors by their names in the state dict that take the place of the module's own, and the
    caller may add those of the map that it got. Moments are None if no run with the original
    weights comes to the operator, or not with as many positions, or if runs disturb each other,
    of which a warning tells. Of many batches some are used, as `MAX_RUNS` allows. The module stays
    as it is. Raises CalibrationError like `run`.
    """
    waiting = set(maps)
    numbers = _spread(len(batches), MAX_RUNS // (1 + len(variants)))
    with evaluation(module), fused_kernels_off():
        alone = _sums_alone(module, batches[numbers[0]], maps) if numbers else {}
        groups = [
            _Runs(
                _begin(module, batches[number], number, waiting, None),
                [_begin(module, batches[number], number, waiting, one) for one in variants],
            )
            for number in numbers
        ]
        runs = [one for group in groups for one in group]
        is_disturbed = False
        try:
            for one in runs:
                one.proceed()
            while waiting and (linear_map := _next_map(groups)) is not None:
                is_disturbed = is_disturbed or _is_disturbed(groups[0].original.at, alone)
                yield (
                    linear_map,
                    [
                        None if is_disturbed else _moments(linear_map, groups, number)
                        for number in range(len(variants))
                    ],
                )
                waiting.discard(linear_map)
                for one in runs:
                    if waiting and one.at is not None and one.at.linear_map not in waiting:
                        one.proceed()
        finally:
            for one in runs:
                one.abandon()


def _begin(
    module: nn.Module,
    batch: Batch,
    number: int,
    waiting: Collection[LinearMap],
    variant: Mapping[str, torch.Tensor] | None,
) -> _Run:
    """A run that pauses at the maps that are waiting, with the tensors of a variant, if any."""
    names = {id(tensor): name for name, tensor in module.state_dict(keep_vars=True).items()}

    def body(pause: Callable[[_Stop], None]) -> None:
        def before(linear_map: LinearMap, inputs: Sampler) -> bool:
            pause(_Stop(linear_map, inputs))
            return variant is not None

        observer = Observer(before=before)
        with (
            torch.no_grad(),
            _Substitution(names, {} if variant is None else variant),
            intercepted(module, lambda one: observer if one in waiting else None),
        ):
            run(module, batch, number=number)

    return Pausing(body)


def _sums_alone(
    module: nn.Module, batch: Batch, maps: Collection[LinearMap]
) -> dict[LinearMap, tuple[float, float]]:
    """The `_sums` of inputs of each operator's first use in a run that nothing interrupts."""
    found: dict[LinearMap, tuple[float, float]] = {}

    def before(linear_map: LinearMap, inputs: Sampler) -> bool:
        found.setdefault(linear_map, _sums(inputs))
        return False

    observer, wanted = Observer(before=before), frozenset(maps)
    with (
        torch.no_grad(),
        intercepted(module, lambda one: observer if one in wanted else None),
    ):
        run(module, batch)
    return found


def _sums(inputs: Sampler) -> tuple[float, float]:
    """The sum of some inputs, and that of their magnitudes."""
    rows = inputs(WATCHED_ROWS, 0).double()
    return float(rows.sum()), float(rows.abs().sum())


def _is_disturbed(stop: _Stop | None, alone: Mapping[LinearMap, tuple[float, float]]) -> bool:
    """Whether a run with the original weights differs from the same run alone. Warns if it does."""
    if stop is None or stop.linear_map not in alone:
        return False
    (found, _), (expected, magnitude) = _sums(stop.inputs), alone[stop.linear_map]
    if abs(found - expected) <= TOLERANCE * magnitude:
        return False
    warnings.warn(
        f"the module keeps values between its parts that batches running side by side change: "
        f"{stop.linear_map.name} and what comes after it are quantized without correction",
        stacklevel=2,
    )
    return True


class _Substitution(TorchFunctionMode):
    """Runs torch's functions on other tensors in the place of a module's own."""

    def __init__(self, names: Mapping[int, str], tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self._names = names
        self._tensors = tensors

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        options = {key: self._of(value) for key, value in (kwargs or {}).items()}
        return func(*map(self._of, args), **options)

    def _of(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self._tensors.get(self._names.get(id(value), ""), value)
        if type(value) in (list, tuple):
            return type(value)(map(self._of, value))
        return value


def _spread(count: int, limit: int) -> list[int]:
    """The numbers of up to `limit` of so many batches."""
    return [int(n) for n in np.linspace(0, count - 1, min(count, limit))]


def _next_map(groups: Sequence[_Runs]) -> LinearMap | None:
    """The operator that the first variant of some batch stands at."""
    stops = (group.variants[0].at for group in groups)
    return next((stop.linear_map for stop in stops if stop is not None), None)


def _moments(linear_map: LinearMap, groups: Sequence[_Runs], variant: int) -> InputMoments | None:
    samplers = [group.samplers(linear_map, variant) for group in groups]
    known = [one for one in samplers if one is not None]
    size, count = linear_map.width, 0
    now, cross = np.zeros((size, size)), np.zeros((size, size))
    for seed, (inputs_before, inputs) in enumerate(known):
        limit = -(-rows_for(size) // len(known))
        before = _with_ones(inputs_before(limit, seed), linear_map)
        x = _with_ones(inputs(limit, seed), linear_map)
        if len(x) != len(before):  # the positions do not belong together
            return None
        now += products(x, x).cpu().numpy()
        cross += products(before, x).cpu().numpy()
        count += len(x)
    return InputMoments(now / count, cross / count) if count else None


def _with_ones(inputs: torch.Tensor, linear_map: LinearMap) -> torch.Tensor:
    return torch.cat([inputs, inputs.new_ones(len(inputs), 1)], 1) if linear_map.biases else inputs
