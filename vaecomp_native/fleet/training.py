"""From a base and its fine-tunes to a pack."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vaecomp_native.archive import Archive
from vaecomp_native.calibration.config import Calibration
from vaecomp_native.compression.options import Options
from vaecomp_native.compression.request import as_module
from vaecomp_native.errors import WeightsError
from vaecomp_native.fleet.by_components import decoder_by_components
from vaecomp_native.fleet.by_differences import decoder_by_differences
from vaecomp_native.fleet.decoder import LatentPlan
from vaecomp_native.fleet.layout import Layout
from vaecomp_native.fleet.members import Members
from vaecomp_native.fleet.packing import encode_base, pack_bytes
from vaecomp_native.io import sinks
from vaecomp_native.progress import Progress, shown

if TYPE_CHECKING:
    from vaecomp_native.fleet.by_function import Design
    from vaecomp_native.state_dict import Weights


@dataclass(frozen=True)
class PackReport:
    """What `train` made.

    `bytes` are the pack's, of which `base_bytes` would be the base's archive and the others are the decoder's; `latents` are the numbers of a member;
    `divergence` is that of the training's last steps and `divergence_kind` says which, "kl" or "mse", None without sample inputs; `common_bits` and `local_bits` are what the common and the
    local latents tell of a member, KL(posterior || prior) in the mean, None without sample inputs; `designs` are the decoders that were tried; `history` has the training curve.
    """

    bytes: int
    base_bytes: int
    decoder_bytes: int
    members: int
    latents: int
    sha256: str
    divergence_kind: str | None
    divergence: float | None
    common_bits: float | None
    local_bits: float | None
    designs: Sequence[Design]
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
    calibration: Calibration | Sequence[Iterable[Any]] | None = None,
    lossless: bool = False,
    latent: int | Sequence[int] = 8,
    hidden: int | Sequence[int] = 0,
    local: int = 0,
    common_cost: float = 1.0,
    decoder_rate_weight: float = 1.4e-5,
    steps: int = 1500,
    base_options: Options | None = None,
    seed: int = 0,
    threads: int = 0,
    progress: Progress | bool = False,
) -> PackReport:
    """Train a decoder that all members share, and write it with their base as the pack `out`.

    A member is base + decoder(latents). With `calibration` the decoder is trained by what members do: the outputs of what it
    decodes are to be those of the members, and its size counts. Without, it is made of the principal components of the deltas,
    which takes more latents and bytes. Members to come need not be among those trained on; a few dozen alike should be.

    Args:
        members: fine-tunes of the base, each as `compress` takes weights, read one after another.
        base: the model that they were made from; a torch module if `calibration` is given.
        out: the pack to write.
        calibration: for each member batches of its inputs, without labels, as `compress` takes them,
            or a `Calibration` whose `batches` are these. A few hundred samples do. A member's
            batches may be a sequence that makes them when they are asked for.
        lossless: members will be compressed without loss: the components are those that leave few bits, near the base as far from it. Excludes `calibration`.
        latent: latents that the whole model depends on. Of several numbers, and several of `hidden`, the best is chosen by
            members held out: each takes a training.
        hidden: units of a hidden layer (ReLU) between latents and weights, at least twice `latent + local`, or 0: weights are linear in the
            latents. Needs `calibration`.
        local: further latents of each module of the base with tensors of its own, which only these depend on.
        common_cost: what information in the common latents costs relative to that in the local ones: above 1, the common latents keep what
            modules share, and the rest moves to the local ones (Ryu et al. 2019, arXiv 1905.10945). Needs `calibration`.
        decoder_rate_weight: mean divergence that a bit of the decoder must save, in nats or as
            `divergence` has it. Larger is smaller and less accurate.
        steps: of training, with 16 members each.
        base_options: how the base is compressed: `codec`, one target and what it needs, as for `compress`; by default lossless. The decoder is
            trained on the base as it is decoded, and makes up for some of its loss.
        seed: of everything random.
        threads: of the native kernels, 0 for all cores.
        progress: as for `compress`.

    Raises:
        WeightsError: a member does not have the base's tensors, naming the tensor. Values that are not finite count as the base's.
        CalibrationError: the module rejects a batch, what it gives is not finite, a batch may hold labels, or the divergence must be given.
        TrainingError: training did not converge.
        OverwriteError: `out` is the base's file or a member's.
        ValueError: an option out of range, naming it.
        OSError: the pack cannot be written.
    """
    plans = [
        LatentPlan(common, local, 1, units)
        for common in _several(latent)
        for units in _several(hidden)
    ]
    samples = Calibration.of(calibration)
    _check_options(members, base, samples, lossless, plans, common_cost, decoder_rate_weight, steps)
    started = time.perf_counter()
    sinks.check_output(
        out, [one for one in (base, *members) if isinstance(one, (str, os.PathLike))]
    )
    with shown(progress) as report:
        state, encoded = encode_base(base, base_options or {}, threads, report)
        sinks.check_output(out, state.files)
        decoded = {name: np.asarray(encoded.decoded[name]) for name in state.arrays}
        layout = Layout.of(state)
        if not layout.size:
            raise WeightsError("the base has no float tensors that a decoder could change")
        plans = [replace(plan, blocks=len(layout.blocks)) for plan in plans]
        fleet = Members(members, state, decoded, layout)
        history: Sequence[Mapping[str, float]] = []
        designs: Sequence[Design] = []
        common_bits = local_bits = kind = None
        if samples is None:
            by_weights = decoder_by_differences if lossless else decoder_by_components
            decoder, prior = by_weights(fleet, plans[0], report)
        else:
            from vaecomp_native.fleet.by_function import FunctionTraining
            from vaecomp_native.fleet.trainer import TrainingOptions

            training = FunctionTraining(fleet, as_module(base, "base"), samples, report)
            found = training.best(
                plans, TrainingOptions(steps, decoder_rate_weight, common_cost, seed)
            )
            decoder, prior = found.decoder, found.prior
            history, designs = found.history, found.designs
            kind = training.kind
            common = decoder.plan.common
            common_bits = float(found.latent_bits[:common].sum())
            local_bits = float(found.latent_bits[common:].sum())
        latents = decoder.plan.latents
        data = pack_bytes(state, encoded, list(decoder.groups()), prior, latents)
    with Archive(data, threads=threads) as archive:
        archive.verify()
        sha256 = archive.sha256
    sinks.write(out, data)
    return PackReport(
        bytes=len(data),
        base_bytes=len(encoded.data),
        decoder_bytes=len(data) - len(encoded.data),
        members=len(members),
        latents=latents,
        sha256=sha256,
        divergence_kind=kind,
        divergence=history[-1]["divergence"] if history else None,
        common_bits=common_bits,
        local_bits=local_bits,
        designs=designs,
        seconds=time.perf_counter() - started,
        history=history,
    )


def _check_options(
    members: Sequence[Weights],
    base: Weights,
    samples: Calibration | None,
    lossless: bool,
    plans: Sequence[LatentPlan],
    common_cost: float,
    decoder_rate_weight: float,
    steps: int,
) -> None:
    if len(members) < 2:
        raise ValueError(f"there are {len(members)} members; a fleet has at least 2")
    if samples is None and len(plans) != 1:
        raise ValueError("several values of latent or hidden need calibration to choose among them")
    for plan in plans:
        _check_plan(plan, calibrated=samples is not None)
    if not common_cost > 0:
        raise ValueError(f"common_cost is {common_cost}; it must be above 0")
    if not decoder_rate_weight >= 0:
        raise ValueError(f"decoder_rate_weight is {decoder_rate_weight}; it must be at least 0")
    if steps < 1:
        raise ValueError(f"steps is {steps}; it must be at least 1")
    if samples is None:
        return
    if lossless:
        raise ValueError("lossless members need no calibration: give one of both")
    given = list(samples.batches)
    if len(given) != len(members):
        raise ValueError(
            f"calibration has {len(given)} entries for {len(members)} members; give one a member"
        )
    as_module(base, "base")


def _check_plan(plan: LatentPlan, *, calibrated: bool) -> None:
    if plan.common < 0 or plan.local < 0 or plan.inputs < 1:
        raise ValueError(
            f"latent is {plan.common} and local is {plan.local}; give at least one latent"
        )
    if plan.hidden and plan.hidden < 2 * plan.inputs:
        raise ValueError(
            f"hidden is {plan.hidden}; it must be 0, or at least twice the {plan.inputs} latents"
        )
    if plan.hidden and not calibrated:
        raise ValueError("hidden needs calibration; without it the decoder is linear")


def _several(values: int | Sequence[int]) -> Sequence[int]:
    return [values] if isinstance(values, int) else values
