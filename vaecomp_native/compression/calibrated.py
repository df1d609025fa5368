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
from vaecomp_native.calibration.sensitivity import Sensitivity, sensitivities
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
    """Find the module's linear maps with all parameters in `arrays`, in order of execution."""
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
    """Make an operator for each map, and one for each tensor of `arrays` that is in no map.

    `scratch` holds their large matrices. Warns of tensors that the batches never use: these get the
    average sensitivity of the others.
    """
    mapped = {name for linear_map in maps for name in linear_map.parameters}
    others = by_themselves(arrays, mapped)
    measured, diagonals = sensitivities(
        module, batches, maps, others, divergence=measure, scratch=scratch, progress=progress
    )
    # Tables that embeddings look up are used before anything else.
    in_order = sorted(maps, key=lambda one: measured[one.name].lookups is None)
    # Each moment is freed as soon as it is factorized.
    operators = [
        _operator_of(linear_map, measured.pop(linear_map.name), scratch) for linear_map in in_order
    ]
    for name in others:
        rows = diagonals[name].reshape(matrix_shape(arrays[name].shape)).mean(1)
        operators.append(plain_operator(name, arrays[name].shape, rows, calibrated=True))
    parameters = frozenset(name for name, _ in module.named_parameters(remove_duplicate=False))
    return _with_fallbacks(operators, arrays, parameters)


def _operator_of(linear_map: LinearMap, sensitivity: Sensitivity, scratch: Scratch) -> Operator:
    widths = tuple(int(np.prod(shape)) // linear_map.rows for shape in linear_map.shapes)
    is_looked_up = sensitivity.lookups is not None
    if is_looked_up:
        sensitivity = _of_both_uses(sensitivity, linear_map.columns)
    return Operator(
        linear_map.name,
        linear_map.weights,
        linear_map.biases,
        widths,
        Curvature.of(sensitivity.moment, bool(linear_map.biases)).kept_in(scratch),
        sensitivity.rows,
        calibrated=True,
        # What an operator sees that runs several times depends on what it gave before.
        refitted=not is_looked_up and linear_map.groups == 1 and linear_map.uses == 1,
    )


def _of_both_uses(sensitivity: Sensitivity, columns: int) -> Sensitivity:
    """The sensitivity of a map whose rows are also looked up, as tied embeddings' are.

    An error e of row i costs rows[i] * e M e^T as the map's, and lookups[i] * e e^T where it is
    looked up. The sum is one product again if all rows mix the two alike: the second moment becomes
    M / m + c, with M's mean diagonal m and the lookups' share c of the mean row's cost over the
    map's. Each row counts so that its mean cost over columns stays what it is.
    """
    lookups = sensitivity.lookups
    assert lookups is not None
    mean = float(np.diagonal(sensitivity.moment)[:columns].mean())
    mapped = sensitivity.rows * mean
    if not mapped.any():  # no gradient reaches the map's outputs
        return Sensitivity(np.eye(len(sensitivity.moment)), lookups)
    share = float(lookups.sum() / mapped.sum())
    moment = sensitivity.moment / mean
    moment[np.arange(columns), np.arange(columns)] += share
    return Sensitivity(moment, (mapped + lookups) / (1 + share))


def _with_fallbacks(
    operators: Sequence[Operator], arrays: Mapping[str, Array], parameters: Container[str]
) -> list[Operator]:
    """Replace operators that calibration never uses by data-free ones of average sensitivity."""
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
    # No gradient ever reaches a buffer, so there is nothing to warn of.
    if unused:
        warnings.warn(
            f"calibration never uses {', '.join(unused)}: quantized without sensitivity",
            stacklevel=2,
        )
    return result


def _is_used(operator: Operator) -> bool:
    """Whether the operator had inputs, and the module's output depends on its outputs."""
    return bool(operator.row_weights.any() and operator.curvature.energy.max() > NO_COST)
