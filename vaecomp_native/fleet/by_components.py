"""A linear decoder from the deltas alone: principal components in integers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vaecomp_native.fleet.decoder import FleetDecoder, LatentPlan, to_symbols
from vaecomp_native.fleet.layout import Layout
from vaecomp_native.fleet.members import Members
from vaecomp_native.fleet.principal import Components, principal_components, tensor_weights
from vaecomp_native.fleet.prior import LatentPrior
from vaecomp_native.fleet.steps import tensor_steps
from vaecomp_native.progress import Progress

Float32Array = npt.NDArray[np.float32]
ROUNDING_SHARE = 0.25
"""What rounding may add to the squared error, relative to what components leave."""
DEVIATION = 0.1
"""Of latents, in standard deviations of the fleet: least squares know them better than they need be."""


def decoder_by_components(
    members: Members, plan: LatentPlan, progress: Progress
) -> tuple[FleetDecoder, LatentPrior]:
    """The decoder, and the latents' tables."""
    deltas = members.deltas(progress)
    weights = tensor_weights(members.base, deltas, members.layout)
    components = principal_components(deltas, weights, members.layout, plan)
    steps = _steps_for_rounding(components, deltas, weights, plan, members.layout)
    decoder = FleetDecoder.of(components.columns, steps, members.layout, plan)
    deviations = np.full_like(components.latents, DEVIATION)
    return decoder, LatentPrior.fit(components.latents, deviations)


def _steps_for_rounding(
    components: Components,
    deltas: Float32Array,
    weights: Float32Array,
    plan: LatentPlan,
    layout: Layout,
) -> Float32Array:
    """The coarsest steps [P] with which rounding adds at most `ROUNDING_SHARE` of the squared error that there is without, or else the best."""
    columns = components.columns
    importance = {name: float(weights[place].mean()) for name, place in layout.places.items()}
    made = np.tile(columns[:, 0], (len(deltas), 1))
    for number, rows in enumerate(layout.blocks.values()):
        own = slice(rows.start, rows.stop)
        made[:, own] += components.latents[:, plan.indices(number)] @ columns[own, 1:].T
    left = float((np.square(deltas - made).mean(0) * weights).sum())
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
