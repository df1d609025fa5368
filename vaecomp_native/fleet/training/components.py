"""Principal components of a fleet's deltas: where a decoder starts, and all there is to know without sample inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vaecomp_native.fleet.decoder import LatentPlan
from vaecomp_native.fleet.layout import Layout

Array = npt.NDArray[np.generic]
Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Components:
    """Columns float32 [P, 1 + inputs], the first of them what all members have in common, and the members' latents float32 [N, L]."""

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

    `weights` float32 [P] are what squared errors count. Latents have the mean square 1 over the fleet, and those that nothing is left for are zeros. The first column is
    the mean delta, and the mean of the latents 0; or, with `about_mean=False`, that column is zeros.
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


def _components(
    centred: Float32Array, weights: Float32Array, count: int
) -> tuple[Float32Array, Float32Array]:
    """Weighted principal components [P, count] of rows [N, P] and their scores [N, count] with the mean square 1.

    From the Gram matrix of the rows: members are few beside weights. Those beyond the rank are zeros.
    """
    scaled = centred * np.sqrt(weights)
    values, vectors = np.linalg.eigh((scaled @ scaled.T).astype(np.float64))
    count_found = min(count, len(values))
    values, vectors = values[::-1][:count_found], vectors[:, ::-1][:, :count_found]
    used = values > 1e-9 * max(values[0], 1e-30)
    scores = np.zeros((len(centred), count), np.float32)
    scores[:, :count_found] = np.where(used, vectors * np.sqrt(len(centred)), 0.0)
    return centred.T @ scores / np.float32(len(centred)), scores


def tensor_weights(base: Mapping[str, Array], deltas: Float32Array, layout: Layout) -> Float32Array:
    """What squared errors count without sample inputs, float32 [P]: relative to the tensor's own energy."""
    weights = np.empty(layout.size, np.float32)
    for name, place in layout.places.items():
        energy = float(np.square(base[name].astype(np.float32)).mean())
        energy += float(np.square(deltas[:, place]).mean())
        weights[place] = 1.0 / max(energy, 1e-20)
    return weights
