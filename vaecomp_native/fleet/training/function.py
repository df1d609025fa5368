"""Decoders trained by what members do, and the choice among several by members held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from vaecomp_native.calibration.batches import picked
from vaecomp_native.calibration.config import Calibration
from vaecomp_native.fleet.behaviour import Behaviour, Student
from vaecomp_native.fleet.decoder import FleetDecoder, LatentPlan, tensor_steps
from vaecomp_native.fleet.forward import forward_of
from vaecomp_native.fleet.latents import by_function
from vaecomp_native.fleet.layout import Layout
from vaecomp_native.fleet.prior import LatentPrior
from vaecomp_native.fleet.training.components import principal_components
from vaecomp_native.fleet.training.found import Design, Found
from vaecomp_native.fleet.training.members import Members
from vaecomp_native.fleet.training.trainer import TrainingOptions, information, train_by_function
from vaecomp_native.progress import Progress, silent

Float32Array = npt.NDArray[np.float32]
MIN_COARSENESS, MAX_COARSENESS = 0.25, 8.0
MAX_COARSENESS_RATE = 1.4e-5
"""A symbol stands for so many times the components' root mean square.

It is the most at this `decoder_rate_weight` or above, and below in proportion to the weight's root:
the error that a bit of a fine quantizer saves is in proportion to the squared step.
"""
SENSITIVE_MEMBERS = 16
"""About so many members' sensitivity is measured; it is much the same for all."""
HELD_OUT, MAX_HELD_OUT = 8, 16
"""To choose among decoders, one member in `HELD_OUT` is held out, but at most `MAX_HELD_OUT`."""
MIN_WEIGHT = 0.05
"""What an error in any tensor counts at least, relative to the mean.

Components of a tensor that no output depends on are to be small, not arbitrary.
"""


class FunctionTraining:
    """Members and what they do, read once for all decoders that are tried."""

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

    def best(self, plans: Sequence[LatentPlan], options: TrainingOptions) -> Found:
        """Train a decoder for each plan and choose one.

        The only one is trained on all members. Of several, the one is chosen with the smallest
        divergence of members held out, plus what its bits cost.
        """
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
            tried.append((distance + options.decoder_rate_weight * 8 * size, found))
        _, chosen = min(tried, key=lambda one: one[0])
        return replace(chosen, designs=designs)

    def _train(self, plan: LatentPlan, options: TrainingOptions, members: Sequence[int]) -> Found:
        layout = self._members.layout
        weights = np.empty_like(self._base)
        for name, place in layout.places.items():
            weights[place] = self._importance[name]
        weights += MIN_WEIGHT * weights.mean()
        components = principal_components(self._deltas[list(members)], weights, layout, plan)
        relative_rate = min(options.decoder_rate_weight / MAX_COARSENESS_RATE, 1.0)
        coarseness = max(MAX_COARSENESS * relative_rate**0.5, MIN_COARSENESS)
        steps = tensor_steps(components.columns, self._importance, layout, coarseness)
        behaviours = [self._behaviours[i] for i in members]
        trained = train_by_function(
            self._student, behaviours, self._base, components, steps, plan, options, self._progress
        )
        decoder = FleetDecoder.of(trained.columns, steps, layout, plan, trained.hidden)
        prior = LatentPrior.fit(trained.means, trained.deviations)
        kind = self._student.measure.kind
        return Found(decoder, prior, kind, information(trained), trained.history)

    def _divergence(self, found: Found, plan: LatentPlan, members: Sequence[int]) -> float:
        """The mean divergence of members, with latents found as those of new members are."""
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
