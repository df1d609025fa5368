"""A linear decoder for members that lose nothing (kernels.md, Differences).

What the decoder leaves of a weight costs the logarithm of its distance, counted in units in the
last place. Halving what is left of a member close to the base therefore saves as many bits as
halving what is left of one far from it. So components are those of deltas relative to the members'
distances. They are about zero, not about the mean: a member with latents of zero is the base.

In many members a row of a tensor may be the base's own, as that of a unit which stopped learning.
What latents add to such a row costs more than it saves in other members. Rows that take more bits
with components than without have none.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vaecomp_native.codecs.differences import units_in_last_place
from vaecomp_native.fleet.decoder import FleetDecoder, LatentPlan
from vaecomp_native.fleet.layout import Layout, tensor_weights
from vaecomp_native.fleet.prior import MAX_LATENT, LatentPrior
from vaecomp_native.fleet.training.components import (
    Components,
    principal_components,
    steps_for_rounding,
)
from vaecomp_native.fleet.training.found import Found
from vaecomp_native.fleet.training.members import Members
from vaecomp_native.progress import Progress
from vaecomp_native.quantization.matrix import matrix_shape

BoolArray = npt.NDArray[np.bool_]
Float32Array = npt.NDArray[np.float32]
MIN_DISTANCE = 0.1
"""Members nearer to the base count as if they were this far, in mean distances."""


def decoder_for_lossless(members: Members, plan: LatentPlan, progress: Progress) -> Found:
    """The decoder of components that leave few bits."""
    deltas, layout = members.deltas(progress), members.layout
    weights = tensor_weights(members.base, deltas, layout)
    decoder, latents = _fit(deltas, _distances(deltas, weights), weights, layout, plan)
    left = deltas - Components(decoder.columns, latents).deltas(layout, plan)
    deltas[:, ~_worthwhile(decoder, deltas, left, members)] = 0.0
    decoder, latents = _fit(deltas, _distances(left, weights), weights, layout, plan)
    return Found(decoder, LatentPrior.of_known(latents))


def _distances(deltas: Float32Array, weights: Float32Array) -> Float32Array:
    """How far each member is from the base, float32 [N]: the root of its weighted squares."""
    distances = np.array([np.dot(np.square(delta), weights) for delta in deltas]) ** 0.5
    min_distance = np.float32(MIN_DISTANCE * float(distances.mean()) or 1.0)
    floored: Float32Array = np.maximum(distances, min_distance)
    return floored


def _fit(
    deltas: Float32Array,
    distances: Float32Array,
    weights: Float32Array,
    layout: Layout,
    plan: LatentPlan,
) -> tuple[FleetDecoder, Float32Array]:
    """A decoder of components of deltas [N, P] relative to distances [N], and latents [N, L]."""
    relative = deltas / distances[:, None]
    components = principal_components(relative, weights, layout, plan, about_mean=False)
    steps = steps_for_rounding(components, relative, weights, layout, plan)
    latents = components.latents * distances[:, None]
    # Every latent is to have a code.
    scale = np.float32(float(np.abs(latents).max()) / MAX_LATENT or 1.0)
    decoder = FleetDecoder.of(components.columns * scale, steps * scale, layout, plan)
    return decoder, latents / scale


def _worthwhile(
    decoder: FleetDecoder, deltas: Float32Array, left: Float32Array, members: Members
) -> BoolArray:
    """Whether a weight's row of its tensor takes fewer bits with components, bool [P].

    `left` [N, P] is what components leave of the deltas [N, P].
    """
    layout = members.layout
    worthwhile = np.empty(layout.size, bool)
    for name, place in layout.places.items():
        units = units_in_last_place(members.base[name]).reshape(-1)
        saved = -np.log2(1.0 + np.abs(decoder.symbols[place], dtype=np.float64)).sum(1)
        for before, after in zip(deltas[:, place], left[:, place], strict=True):
            saved += np.log2((units + np.abs(before)) / (units + np.abs(after)))
        rows = saved.reshape(matrix_shape(layout.shapes[name])).sum(1) > 0
        worthwhile[place] = np.repeat(rows, saved.size // rows.size)
    return worthwhile
