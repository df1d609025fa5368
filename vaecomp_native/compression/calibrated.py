"""Operators with sensitivities measured on calibration batches."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from vaecomp_native.calibration.divergence import Measure
from vaecomp_native.calibration.interception import find_linear_maps
from vaecomp_native.calibration.maps import LinearMap
from vaecomp_native.calibration.running import Batch
from vaecomp_native.calibration.sensitivity import Sensitivity, diagonal_sensitivity, sensitivities
from vaecomp_native.compression.operators import (
    NO_COST,
    Operator,
    by_themselves,
    cost_of_all,
    data_free_operator,
    plain_operator,
)
from vaecomp_native.io.scratch import Scratch
from vaecomp_native.progress import Progress
from vaecomp_native.quantization.feedback import Curvature
from vaecomp_native.quantization.matrix import matrix_shape

Array = npt.NDArray[Any]


def usable_maps(
    module: nn.Module, batch: Batch, arrays: Mapping[str, Array]
) -> tuple[LinearMap, ...]:
    """The module's linear maps, in order of execution, whose parameters are all among `arrays`."""
    return tuple(
        linear_map
        for linear_map in find_linear_maps(module, batch)
        if set(linear_map.parameters) <= arrays.keys()
    )


def calibrated_operators(
    module: nn.Module,
    batches: Sequence[Batch],
    maps: Sequence[LinearMap],
    arrays: Mapping[str, Array],
    measure: Measure,
    scratch: Scratch,
    progress: Progress,
) -> list[Operator]:
    """An operator for each map and one for each tensor of `arrays` that is in none; `scratch` holds what is large of them.

    Warns about tensors that the batches never use: they are quantized as if as sensitive as the others are on average.
    """
    measured = sensitivities(
        module, batches, maps, divergence=measure, scratch=scratch, progress=progress
    )
    # A moment is let go when it is factorized.
    operators = [
        _operator_of(linear_map, measured.pop(linear_map.name), scratch) for linear_map in maps
    ]
    mapped = {name for linear_map in maps for name in linear_map.parameters}
    others = by_themselves(arrays, mapped)
    diagonals = (
        diagonal_sensitivity(
            module, batches, others, divergence=measure, scratch=scratch, progress=progress
        )
        if others
        else {}
    )
    for name in others:
        rows = diagonals[name].reshape(matrix_shape(arrays[name].shape)).mean(1)
        operators.append(plain_operator(name, arrays[name].shape, rows, calibrated=True))
    parameters = frozenset(name for name, _ in module.named_parameters(remove_duplicate=False))
    return _with_fallbacks(operators, arrays, parameters)


def _operator_of(linear_map: LinearMap, sensitivity: Sensitivity, scratch: Scratch) -> Operator:
    widths = tuple(int(np.prod(shape)) // linear_map.rows for shape in linear_map.shapes)
    return Operator(
        linear_map.name,
        linear_map.weights,
        linear_map.biases,
        widths,
        Curvature.of(sensitivity.moment, bool(linear_map.biases)).kept_in(scratch),
        sensitivity.rows,
        calibrated=True,
    )


def _with_fallbacks(
    operators: Sequence[Operator], arrays: Mapping[str, Array], parameters: Container[str]
) -> list[Operator]:
    """Replace operators that calibration says nothing about by data-free ones of average sensitivity."""
    costs = [cost_of_all(operator, arrays) for operator in operators if _is_used(operator)]
    known = [cost for cost in costs if cost > NO_COST]
    average = np.exp(np.mean(np.log(known))) if known else 1.0
    result = []
    unused = []
    for operator in operators:
        if _is_used(operator):
            result.append(operator)
            continue
        unused += [name for name in operator.tensors if name in parameters]
        for name in operator.tensors:
            free = data_free_operator(name, arrays[name])
            result.append(dataclasses.replace(free, multiplier=float(average)))
    # No gradient ever reaches a buffer: that is nothing to warn of.
    if unused:
        warnings.warn(
            f"calibration never uses {', '.join(unused)}: quantized without sensitivity",
            stacklevel=2,
        )
    return result


def _is_used(operator: Operator) -> bool:
    """Whether anything went in, and whether the module's output depends on what came out."""
    return bool(operator.row_weights.any() and operator.curvature.energy.max() > NO_COST)
