"""A linear decoder from the deltas alone: principal components in integers."""

from __future__ import annotations

from vaecomp_native.fleet.decoder import FleetDecoder, LatentPlan
from vaecomp_native.fleet.members import Members
from vaecomp_native.fleet.principal import principal_components, tensor_weights
from vaecomp_native.fleet.prior import LatentPrior
from vaecomp_native.fleet.rounding import steps_for_rounding
from vaecomp_native.progress import Progress


def decoder_by_components(
    members: Members, plan: LatentPlan, progress: Progress
) -> tuple[FleetDecoder, LatentPrior]:
    """The decoder, and the latents' tables."""
    deltas = members.deltas(progress)
    weights = tensor_weights(members.base, deltas, members.layout)
    components = principal_components(deltas, weights, members.layout, plan)
    steps = steps_for_rounding(components, deltas, weights, members.layout, plan)
    decoder = FleetDecoder.of(components.columns, steps, members.layout, plan)
    return decoder, LatentPrior.of_known(components.latents)
