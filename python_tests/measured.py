"""Sensitivities of maps alone, and of other tensors alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from vaecomp_native.calibration import sensitivity
from vaecomp_native.calibration.maps import LinearMap
from vaecomp_native.calibration.running import Batch


def sensitivities(
    module: nn.Module, batches: Sequence[Batch], maps: Sequence[LinearMap], **options: Any
) -> dict[str, sensitivity.Sensitivity]:
    return sensitivity.sensitivities(module, batches, maps, **options)[0]


def diagonal_sensitivity(
    module: nn.Module, batches: Sequence[Batch], names: Collection[str], **options: Any
) -> dict[str, npt.NDArray[np.float64]]:
    return sensitivity.sensitivities(module, batches, (), names, **options)[1]
