"""Decoders trained by what members do, and the choice among several by members held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from vaecomp_native.calibration.batches import picked
from vaecomp_native.calibration.config import Calibration
from vaecomp_native.fleet.behaviour import Behaviour, Student
from vaecomp_native.fleet.decoder import FleetDecoder, LatentPlan
from vaecomp_native.fleet.forward import forward_of
from vaecomp_native.fleet.latents import by_function
from vaecomp_native.fleet.layout import Layout
from vaecomp_native.fleet.members import Members
from vaecomp_native.fleet.principal import principal_components
from vaecomp_native.fleet.prior import LatentPrior
from vaecomp_native.fleet.steps import tensor_steps
from vaecomp_native.fleet.trainer import TrainingOptions, information, train_by_function
from vaecomp_native.progress import Progress, silent

Float32Array = npt.NDArray[np.float32]
COARSEST, FINEST = 8.0, 0.25
COARSEST_AT = 1.4e-5
"""A symbol stands for so many times the components' root mean square: the coarsest at this rate weight or above, below in
proportion to its root, as for a fine quantizer the error that a bit saves is in proportion to the squared step.
"""
SENSITIVE_MEMBERS = 16
"""Members whose sensitivity is measured; it is much the same for all."""
HELD_OUT, MAX_HELD_OUT = 8, 16
"""One member in so many is held out to choose by, up to as many."""
WEIGHTS_FLOOR = 0.05
"""Of the mean sensitivity: components of what no sample depends on are to be small, not arbitrary."""


@dataclass(frozen=True)
class Design:
    """A decoder that was tried: what it is like, its bytes, and the mean divergence of members held out (None if there was no choice)."""

    latent: int
    hidden: int
    bytes: int
    divergence: float | None


@dataclass(frozen=True)
class Found:
    """The decoder that was chosen, its latents' tables and what each tells of a member, its training curve, and all that were tried."""

    decoder: FleetDecoder
    prior: LatentPrior
    latent_bits: Float32Array
    history: Sequence[Mapping[str, float]]
    designs: Sequence[Design]


class FunctionTraining:
    """Members with their behaviour, read once for all designs."""

    def __init__(
        self,
        members: Members,
        module: torch.nn.Module,
        calibration: Calibration,
        progress: Progress,
    ) -> None:
        self._members, self._module, self._progress = members, module, progress
        self._student = Student(module, members.layout, calibration.divergence)
        self._base = members.vector
        self._deltas = np.empty((len(members.weights), len(self._base)), np.float32)
        self._behaviours: list[Behaviour] = []
        for number, (arrays, batches) in enumerate(zip(members, calibration.batches, strict=True)):
            self._deltas[number] = members.layout.deltas(arrays, self._base)
            own = picked(batches, calibration.inputs, module, of=f" of member {number}")
            self._behaviours.append(Behaviour(self._student, arrays, own))
            progress("reading members", number + 1, len(self._deltas), {})
        self._importance = self._mean_importance()

    @property
    def kind(self) -> str:
        """Which divergence it is trained by: "kl" or "mse"."""
        return self._student.measure.kind

    def best(self, plans: Sequence[LatentPlan], options: TrainingOptions) -> Found:
        """The decoder of the plan with the least divergence of members held out + rate weight * bits; of one plan the one trained on all."""
        if len(plans) == 1:
            found = self._train(plans[0], options, range(len(self._deltas)))
            design = Design(plans[0].common, plans[0].hidden, _bytes(found.decoder), None)
            return replace(found, designs=[design])
        held_out = range(0, len(self._deltas), HELD_OUT)[:MAX_HELD_OUT]
        others = [i for i in range(len(self._deltas)) if i not in held_out]
        tried: list[tuple[float, Found]] = []
        designs: list[Design] = []
        for plan in plans:
            found = self._train(plan, options, others)
            size, distance = _bytes(found.decoder), self._divergence(found, plan, held_out)
            designs.append(Design(plan.common, plan.hidden, size, distance))
            tried.append((distance + options.rate_weight * 8 * size, found))
        _, chosen = min(tried, key=lambda one: one[0])
        return replace(chosen, designs=designs)

    def _train(self, plan: LatentPlan, options: TrainingOptions, members: Sequence[int]) -> Found:
        layout = self._members.layout
        weights = np.empty_like(self._base)
        for name, place in layout.places.items():
            weights[place] = self._importance[name]
        weights += WEIGHTS_FLOOR * weights.mean()
        components = principal_components(self._deltas[list(members)], weights, layout, plan)
        coarseness = max(COARSEST * min(options.rate_weight / COARSEST_AT, 1.0) ** 0.5, FINEST)
        steps = tensor_steps(components.columns, self._importance, layout, coarseness)
        behaviours = [self._behaviours[i] for i in members]
        trained = train_by_function(
            self._student, behaviours, self._base, components, steps, plan, options, self._progress
        )
        decoder = FleetDecoder.of(trained.columns, steps, layout, plan, trained.hidden)
        prior = LatentPrior.fit(trained.means, trained.deviations)
        return Found(decoder, prior, information(trained), trained.history, [])

    def _divergence(self, found: Found, plan: LatentPlan, members: Sequence[int]) -> float:
        """The mean divergence of members whose latents are found as those of members to come are."""
        groups = list(found.decoder.groups())
        shapes = {name: shape for group in groups for name, shape in group.shapes.items()}
        layout = Layout(shapes, {})
        student = Student(self._module, layout, self._student.measure)
        forward = forward_of(layout.flatten(self._members.base), groups)
        total = 0.0
        for number, member in enumerate(members):
            behaviour = self._behaviours[member]
            posterior = by_function(student, behaviour, forward, plan.latents, progress=silent)
            latents = found.prior.latents(posterior.means, posterior.deviations)
            with torch.no_grad():
                total += student.divergence(forward(torch.from_numpy(latents)), behaviour)
            self._progress(
                "validating", number + 1, len(members), {"divergence": total / (number + 1)}
            )
        return total / len(members)

    def _mean_importance(self) -> dict[str, float]:
        """The mean sensitivity of each tensor's elements, over some of the members."""
        some = range(0, len(self._deltas), max(1, len(self._deltas) // SENSITIVE_MEMBERS))
        found = [
            self._student.sensitivity(
                torch.from_numpy(self._deltas[i] + self._base), self._behaviours[i]
            )
            for i in some
        ]
        return {name: sum(one[name] for one in found) / len(found) for name in found[0]}


def _bytes(decoder: FleetDecoder) -> int:
    return sum(len(group.section()) for group in decoder.groups())
