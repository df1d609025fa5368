"""How coarsely components can be rounded."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vaecomp_native.fleet.decoder import LatentPlan, to_symbols
from vaecomp_native.fleet.layout import Layout
from vaecomp_native.fleet.principal import Components
from vaecomp_native.fleet.steps import tensor_steps

Float32Array = npt.NDArray[np.float32]
ROUNDING_SHARE = 0.25
"""What rounding may add to the squared error, relative to what components leave."""


def steps_for_rounding(
    components: Components,
    deltas: Float32Array,
    weights: Float32Array,
    layout: Layout,
    plan: LatentPlan,
) -> Float32Array:
    """The coarsest steps [P] with which rounding adds at most `ROUNDING_SHARE` of the squared error that there is without, or else the best."""
    columns = components.columns
    importance = {name: float(weights[place].mean()) for name, place in layout.places.items()}
    left = float((np.square(deltas - components.deltas(layout, plan)).mean(0) * weights).sum())
    total = float((np.square(deltas).mean(0) * weights).sum())
    most = ROUNDING_SHARE * max(left, 1e-3 * total)
    best: tuple[float, Float32Array] | None = None
    for halvings in range(-8, 24):
        steps = tensor_steps(columns, importance, layout, 2.0 ** (-halvings / 2))
        rounded = to_symbols(columns, steps) * steps[:, None]
        error = float((np.square(columns - rounded).sum(1) * weights).sum())
        # Too fine a step leaves large values out of reach.
        if best is None or error < best[0]:
            best = error, steps
        if error <= most:
            break
    assert best is not None
    return best[1]
