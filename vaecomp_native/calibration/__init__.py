"""Calibration: what a module's linear operators see and cause when it runs on sample inputs.

`find_linear_maps` lists the operators, `sensitivities` measures their inputs and how much the
module's output depends on theirs, `capture` collects the inputs of one. Parameters in no map
(gains, embeddings, ...) get a `diagonal_sensitivity`. Needs PyTorch.

A batch is one call of the module: a tensor, a tuple or list of positional arguments, or a mapping
of keyword arguments; `picked` makes such batches of what a data loader gives. `measure_for` tells
what differences between outputs mean.
"""

from __future__ import annotations

from vaecomp_native.calibration.batches import Inputs, picked
from vaecomp_native.calibration.capture import capture
from vaecomp_native.calibration.detection import measure_for
from vaecomp_native.calibration.divergence import Measure
from vaecomp_native.calibration.hooked import find_linear_maps, tapped
from vaecomp_native.calibration.hooks import Callback
from vaecomp_native.calibration.maps import LinearMap
from vaecomp_native.calibration.outputs import Outputs
from vaecomp_native.calibration.running import Batch, outputs, run
from vaecomp_native.calibration.sensitivity import (
    Sensitivity,
    diagonal_sensitivity,
    sensitivities,
)

__all__ = [
    "Batch",
    "Callback",
    "Inputs",
    "LinearMap",
    "Measure",
    "Outputs",
    "Sensitivity",
    "capture",
    "diagonal_sensitivity",
    "find_linear_maps",
    "measure_for",
    "outputs",
    "picked",
    "run",
    "sensitivities",
    "tapped",
]
