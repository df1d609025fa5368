"""From a base and its fine-tunes to a pack."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.archive import Archive
from vaecomp_native.errors import WeightsError
from vaecomp_native.files import write_atomically
from vaecomp_native.fleet.decoder import FleetDecoder, LatentPlan, to_symbols
from vaecomp_native.fleet.layout import Layout, check_like
from vaecomp_native.fleet.modules import as_module
from vaecomp_native.fleet.packing import encode_base, pack_bytes
from vaecomp_native.fleet.principal import (
    Components,
    principal_components,
    tensor_weights,
)
from vaecomp_native.fleet.prior import LatentPrior
from vaecomp_native.fleet.steps import tensor_steps
from vaecomp_native.jobs import Divergence
from vaecomp_native.progress import Progress, console
from vaecomp_native.state_dict import StateDict, check_finite, read_state_dict

if TYPE_CHECKING:
    from vaecomp_native.fleet.behaviour import Behaviour, Student
    from vaecomp_native.state_dict import Weights

Array = npt.NDArray[Any]
Float32Array = npt.NDArray[np.float32]
COARSENESS = 8.0
"""Of a decoder that is trained by function: a symbol stands for so many times the components' root mean square."""
ROUNDING_SHARE = 0.25
"""Without sample inputs: what rounding may add to the squared error, relative to what components leave."""
SENSITIVE_MEMBERS = 16
"""Members whose sensitivity is measured; it is much the same for all."""


@dataclass(frozen=True)
class PackReport:
    """What `train` made.

    `bytes` are the pack's, of which `base_bytes` would be the base's archive and the others are the decoder's; `latents` are the numbers of a member;
    `divergence` is that of the training's last steps, None without sample inputs; `history` has the training curve.
    """

    bytes: int
    base_bytes: int
    decoder_bytes: int
    members: int
    latents: int
    sha256: str
    divergence: float | None
    seconds: float
    history: Sequence[Mapping[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return asdict(self)


def train(
    members: Sequence[Weights],
    *,
    base: Weights,
    out: str | os.PathLike[str],
    calibration: Sequence[Iterable[Any]] | None = None,
    divergence: Divergence = "kl",
    latent: int = 8,
    hidden: int = 0,
    local: int = 0,
    common_cost: float = 1.0,
    rate_weight: float = 1.4e-5,
    steps: int = 1500,
    base_options: Mapping[str, Any] | None = None,
    seed: int = 0,
    threads: int = 0,
    progress: Progress | None = None,
) -> PackReport:
    """Train a decoder that all members share, and write it with their base as the pack `out`.

    A member is base + decoder(latents). With `calibration` the decoder is trained by what members do: the outputs of what it
    decodes are to be those of the members, and its size counts. Without, it is made of the principal components of the deltas,
    which takes more latents and bytes. Members to come need not be among those trained on; a few dozen alike should be.

    Args:
        members: fine-tunes of the base, each as `compress` takes weights, read one after another.
        base: the model that they were made from; a torch module if `calibration` is given.
        out: the pack to write.
        calibration: for each member batches of its inputs, without labels, as `compress` takes them. A few hundred samples do. A member's batches
            may be a sequence that makes them when they are asked for.
        divergence: what differences of the outputs mean: "kl" for logits, "mse" for other numbers.
        latent: latents that the whole model depends on.
        hidden: units of a hidden layer (ReLU) between latents and weights, at least twice `latent + local`, or 0: weights are linear in the
            latents. Needs `calibration`.
        local: further latents of each module of the base with tensors of its own, which only these depend on.
        common_cost: what information in the common latents costs relative to that in the local ones: above 1, the common latents keep what
            modules share, and the rest moves to the local ones (Ryu et al. 2019, arXiv 1905.10945). Needs `calibration`.
        rate_weight: mean divergence that a bit of the decoder must save. Larger is smaller and less accurate.
        steps: of training, with 16 members each.
        base_options: how the base is compressed: `codec`, one target and what it needs, as for `compress`; by default lossless. The decoder is
            trained on the base as it is decoded, and makes up for some of its loss.
        seed: of everything random.
        threads: of the native kernels, 0 for all cores.
        progress: called as the work proceeds; by default a bar is drawn on a terminal's standard error.

    Raises:
        WeightsError: a member does not have the base's tensors, or NaN or infinite values, naming the tensor.
        CalibrationError: the module rejects a batch.
        TrainingError: training did not converge.
        ValueError: an option out of range, naming it.
        OSError: the pack cannot be written.
    """
    plan = LatentPlan(latent, local, 1, hidden)
    _check_options(members, base, calibration, plan, common_cost, rate_weight, steps)
    started = time.perf_counter()
    with console() if progress is None else nullcontext(progress) as report:
        state, encoded = encode_base(base, base_options or {}, threads, report)
        decoded = {name: np.asarray(encoded.decoded[name]) for name in state.arrays}
        layout = Layout.of(state)
        if not layout.size:
            raise WeightsError("the base has no float tensors that a decoder could change")
        plan = replace(plan, blocks=len(layout.blocks))
        fleet = _Fleet(members, state, decoded, layout)
        if calibration is None:
            decoder, prior, history = _by_components(fleet, plan, report)
        else:
            from vaecomp_native.fleet.trainer import TrainingOptions

            options = TrainingOptions(steps, rate_weight, common_cost, seed)
            decoder, prior, history = _by_function(
                fleet, base, calibration, divergence, plan, options, report
            )
        data = pack_bytes(state, encoded, list(decoder.groups()), prior, plan.latents)
    with Archive(data, threads=threads) as archive:
        archive.verify()
        sha256 = archive.sha256
    write_atomically(out, data)
    return PackReport(
        bytes=len(data),
        base_bytes=len(encoded.data),
        decoder_bytes=len(data) - len(encoded.data),
        members=len(members),
        latents=plan.latents,
        sha256=sha256,
        divergence=history[-1]["divergence"] if history else None,
        seconds=time.perf_counter() - started,
        history=history,
    )


@dataclass(frozen=True)
class _Fleet:
    """The members, and the base as the pack will give it back."""

    members: Sequence[Weights]
    state: StateDict
    base: Mapping[str, Array]
    layout: Layout

    def __iter__(self) -> Iterator[Mapping[str, Array]]:
        """Each member's tensors, checked, with all names."""
        for number, weights in enumerate(self.members):
            yield read_like(weights, self.state, f"member {number}")

    @property
    def vector(self) -> Float32Array:
        """The base's adjustable tensors, [P]."""
        return self.layout.flatten(self.base)

    def deltas(self, progress: Progress) -> Float32Array:
        """What members differ by from the base, [N, P]."""
        base = self.vector
        deltas = np.empty((len(self.members), len(base)), np.float32)
        for number, arrays in enumerate(self):
            deltas[number] = self.layout.flatten(arrays) - base
            progress("reading members", number + 1, len(deltas), {})
        return deltas


def read_like(weights: Weights, base: StateDict, who: str) -> dict[str, Array]:
    """Tensors of a model by all of the base's names. Raises WeightsError unless they are the base's in shape and dtype."""
    state = read_state_dict(weights)
    names = {name: base.arrays[base.aliases.get(name, name)] for name in base.names}
    check_like(state, names, who)
    check_finite(state)
    return {name: state.arrays[state.aliases.get(name, name)] for name in base.names}


def _by_components(
    fleet: _Fleet, plan: LatentPlan, progress: Progress
) -> tuple[FleetDecoder, LatentPrior, list[dict[str, float]]]:
    deltas = fleet.deltas(progress)
    weights = tensor_weights(fleet.base, deltas, fleet.layout)
    components = principal_components(deltas, weights, fleet.layout, plan)
    steps = _steps_for_rounding(components, deltas, weights, plan, fleet.layout)
    decoder = _decoder(components.columns, steps, fleet.layout, plan)
    deviations = np.full_like(components.latents, 0.1)
    return decoder, LatentPrior.fit(components.latents, deviations), []


def _steps_for_rounding(
    components: Components,
    deltas: Float32Array,
    weights: Float32Array,
    plan: LatentPlan,
    layout: Layout,
) -> Float32Array:
    """Steps [P] with which rounding adds `ROUNDING_SHARE` of the squared error that there is without."""
    columns = components.columns
    importance = {name: float(weights[place].mean()) for name, place in layout.places.items()}
    made = np.tile(columns[:, 0], (len(deltas), 1))
    for number, rows in enumerate(layout.blocks.values()):
        own = slice(rows.start, rows.stop)
        made[:, own] += components.latents[:, plan.indices(number)] @ columns[own, 1:].T
    left = float((np.square(deltas - made).mean(0) * weights).sum())
    total = float((np.square(deltas).mean(0) * weights).sum())
    most = ROUNDING_SHARE * max(left, 1e-3 * total)
    for halvings in range(-8, 24):
        steps = tensor_steps(columns, importance, layout, 2.0 ** (-halvings / 2))
        rounded = to_symbols(columns, steps) * steps[:, None]
        if float((np.square(columns - rounded).sum(1) * weights).sum()) <= most:
            break
    return steps


def _by_function(
    fleet: _Fleet,
    base: Weights,
    calibration: Sequence[Iterable[Any]],
    divergence: Divergence,
    plan: LatentPlan,
    options: Any,
    progress: Progress,
) -> tuple[FleetDecoder, LatentPrior, list[dict[str, float]]]:
    from vaecomp_native.fleet.behaviour import Behaviour, Student
    from vaecomp_native.fleet.trainer import train_by_function

    student = Student(as_module(base, "base"), fleet.layout, divergence)
    vector = fleet.vector
    deltas = np.empty((len(fleet.members), len(vector)), np.float32)
    behaviours: list[Behaviour] = []
    for number, (arrays, batches) in enumerate(zip(fleet, calibration, strict=True)):
        deltas[number] = fleet.layout.flatten(arrays) - vector
        behaviours.append(Behaviour(student, arrays, batches, f"member {number}"))
        progress("reading members", number + 1, len(deltas), {})
    importance = _importance(student, behaviours, deltas + vector)
    weights = np.empty_like(vector)
    for name, place in fleet.layout.places.items():
        weights[place] = importance[name]
    weights += 0.05 * weights.mean()
    components = principal_components(deltas, weights, fleet.layout, plan)
    steps = tensor_steps(components.columns, importance, fleet.layout, COARSENESS)
    trained = train_by_function(
        student, behaviours, vector, components, steps, plan, options, progress
    )
    decoder = replace(_decoder(trained.columns, steps, fleet.layout, plan), hidden=trained.hidden)
    return decoder, LatentPrior.fit(trained.means, trained.deviations), list(trained.history)


def _importance(
    student: Student, members: Sequence[Behaviour], vectors: Float32Array
) -> dict[str, float]:
    """The mean sensitivity of each tensor's elements, over some of the members."""
    import torch

    some = range(0, len(members), max(1, len(members) // SENSITIVE_MEMBERS))
    found = [student.sensitivity(torch.from_numpy(vectors[i]), members[i]) for i in some]
    return {name: sum(one[name] for one in found) / len(found) for name in found[0]}


def _decoder(
    columns: Float32Array, steps: Float32Array, layout: Layout, plan: LatentPlan
) -> FleetDecoder:
    by_tensor = {name: steps[place.start] for name, place in layout.places.items()}
    return FleetDecoder(layout, plan, to_symbols(columns, steps), by_tensor)


def _check_options(
    members: Sequence[Weights],
    base: Weights,
    calibration: Sequence[Iterable[Any]] | None,
    plan: LatentPlan,
    common_cost: float,
    rate_weight: float,
    steps: int,
) -> None:
    if len(members) < 2:
        raise ValueError(f"there are {len(members)} members; a fleet has at least 2")
    if plan.common < 0 or plan.local < 0 or plan.inputs < 1:
        raise ValueError(
            f"latent is {plan.common} and local is {plan.local}; give at least one latent"
        )
    if plan.hidden and plan.hidden < 2 * plan.inputs:
        raise ValueError(
            f"hidden is {plan.hidden}; it must be 0, or at least twice the {plan.inputs} latents"
        )
    if plan.hidden and calibration is None:
        raise ValueError("hidden needs calibration; without it the decoder is linear")
    if not common_cost > 0:
        raise ValueError(f"common_cost is {common_cost}; it must be above 0")
    if not rate_weight >= 0:
        raise ValueError(f"rate_weight is {rate_weight}; it must be at least 0")
    if steps < 1:
        raise ValueError(f"steps is {steps}; it must be at least 1")
    if calibration is None:
        return
    if len(calibration) != len(members):
        raise ValueError(
            f"calibration has {len(calibration)} entries for {len(members)} members; give one a member"
        )
    as_module(base, "base")
