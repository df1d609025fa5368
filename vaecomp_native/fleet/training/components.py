"""Principal components of a fleet's deltas, and the linear decoder that is made of them.

Without sample inputs they are all there is to know. With them, training starts there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vaecomp_native.fleet.decoder import FleetDecoder, LatentPlan, tensor_steps, to_symbols
from vaecomp_native.fleet.layout import Layout, tensor_weights
from vaecomp_native.fleet.prior import LatentPrior
from vaecomp_native.fleet.training.found import Found
from vaecomp_native.fleet.training.members import Members
from vaecomp_native.progress import Progress

Float32Array = npt.NDArray[np.float32]
ROUNDING_SHARE = 0.25
"""What rounding may add to the squared error, relative to what components leave."""


def decoder_by_components(members: Members, plan: LatentPlan, progress: Progress) -> Found:
    """The decoder of the principal components, rounded."""
    deltas = members.deltas(progress)
    weights = tensor_weights(members.base, deltas, members.layout)
    components = principal_components(deltas, weights, members.layout, plan)
    steps = steps_for_rounding(components, deltas, weights, members.layout, plan)
    decoder = FleetDecoder.of(components.columns, steps, members.layout, plan)
    return Found(decoder, LatentPrior.of_known(components.latents))


@dataclass(frozen=True)
class Components:
    """Columns float32 [P, 1 + inputs] and the members' latents float32 [N, L].

    The first column is what all members have in common.
    """

    columns: Float32Array
    latents: Float32Array

    def deltas(self, layout: Layout, plan: LatentPlan) -> Float32Array:
        """What is made of the latents, [N, P]."""
        made = np.tile(self.columns[:, 0], (len(self.latents), 1))
        for number, rows in enumerate(layout.blocks.values()):
            own = slice(rows.start, rows.stop)
            made[:, own] += self.latents[:, plan.indices(number)] @ self.columns[own, 1:].T
        return made


def principal_components(
    deltas: Float32Array,
    weights: Float32Array,
    layout: Layout,
    plan: LatentPlan,
    *,
    about_mean: bool = True,
) -> Components:
    """Common components of whole deltas [N, P], then local ones of what is left in each block.

    `weights` float32 [P] are what squared errors count. Latents have the mean square 1 over the
    fleet; those that nothing is left for are zeros. With `about_mean` the first column is the mean
    delta, and the mean of the latents 0. Without, that column is zeros.
    """
    mean = deltas.mean(0) if about_mean else np.zeros(deltas.shape[1], np.float32)
    centred = deltas - mean
    columns = np.zeros((deltas.shape[1], 1 + plan.inputs), np.float32)
    latents = np.zeros((len(deltas), plan.latents), np.float32)
    columns[:, 0] = mean
    if plan.common:
        found = _components(centred, weights, plan.common)
        columns[:, 1 : 1 + plan.common], latents[:, : plan.common] = found
        if plan.local:
            centred -= found[1] @ found[0].T
    if plan.local:
        for number, rows in enumerate(layout.blocks.values()):
            own = slice(rows.start, rows.stop)
            first = plan.common + number * plan.local
            found = _components(centred[:, own], weights[own], plan.local)
            columns[own, 1 + plan.common :], latents[:, first : first + plan.local] = found
    return Components(columns, latents)


def steps_for_rounding(
    components: Components,
    deltas: Float32Array,
    weights: Float32Array,
    layout: Layout,
    plan: LatentPlan,
) -> Float32Array:
    """The coarsest steps [P] with which rounding adds little squared error, or else the best.

    Little is `ROUNDING_SHARE` of what components leave of the deltas without rounding.
    """
    columns = components.columns
    importance = {name: float(weights[place].mean()) for name, place in layout.places.items()}
    left = float((np.square(deltas - components.deltas(layout, plan)).mean(0) * weights).sum())
    total = float((np.square(deltas).mean(0) * weights).sum())
    max_error = ROUNDING_SHARE * max(left, 1e-3 * total)
    best: tuple[float, Float32Array] | None = None
    for halvings in range(-8, 24):
        steps = tensor_steps(columns, importance, layout, 2.0 ** (-halvings / 2))
        rounded = to_symbols(columns, steps) * steps[:, None]
        error = float((np.square(columns - rounded).sum(1) * weights).sum())
        # Too fine a step leaves large values out of reach.
        if best is None or error < best[0]:
            best = error, steps
        if error <= max_error:
            break
    assert best is not None
    return best[1]


def _components(
    centred: Float32Array, weights: Float32Array, count: int
) -> tuple[Float32Array, Float32Array]:
    """Weighted principal components [P, count] of rows [N, P], and their scores [N, count].

    Scores have the mean square 1. Components beyond the rank are zeros. They are found from the
    Gram matrix of the rows, because members are few beside weights.
    """
    scaled = centred * np.sqrt(weights)
    values, vectors = np.linalg.eigh((scaled @ scaled.T).astype(np.float64))
    count_found = min(count, len(values))
    values, vectors = values[::-1][:count_found], vectors[:, ::-1][:, :count_found]
    used = values > 1e-9 * max(values[0], 1e-30)
    scores = np.zeros((len(centred), count), np.float32)
    scores[:, :count_found] = np.where(used, vectors * np.sqrt(len(centred)), 0.0)
    return centred.T @ scores / np.float32(len(centred)), scores
