"""What a symbol of the decoder stands for, tensor by tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from vaecomp_native.fleet.layout import Layout

Float32Array = npt.NDArray[np.float32]


def tensor_steps(
    columns: Float32Array, importance: Mapping[str, float], layout: Layout, coarseness: float
) -> Float32Array:
    """A symbol's step for each weight, float32 [P].

    `coarseness` times the root mean square of the columns [P, 1 + inputs] behind the first, times 1 / sqrt(importance) of the tensor relative to the typical weight's; in
    half octaves, so that tensors share decoders.
    """
    size = float(np.sqrt(np.square(columns[:, 1:], dtype=np.float64).mean()))
    floor = 1e-6 * max(importance.values(), default=1.0)
    logs = {name: math.log2(max(value, floor, 1e-30)) for name, value in importance.items()}
    sizes = {name: math.prod(shape) for name, shape in layout.shapes.items()}
    typical = sum(logs[name] * sizes[name] for name in sizes) / max(sum(sizes.values()), 1)
    steps = np.empty(layout.size, np.float32)
    for name, place in layout.places.items():
        octaves = math.log2(max(coarseness * size, 1e-30)) - 0.5 * (logs[name] - typical)
        steps[place] = 2.0 ** (round(2 * octaves) / 2)
    return steps
