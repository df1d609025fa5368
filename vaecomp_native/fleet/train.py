"""From a base and its fine-tunes to a pack."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from vaecomp_native.archive import Archive
from vaecomp_native.calibration.config import Calibration
from vaecomp_native.compression.options import Options
from vaecomp_native.compression.request import as_module
from vaecomp_native.fleet.decoder import LatentPlan
from vaecomp_native.fleet.pack_file import encode_base, pack_bytes
from vaecomp_native.fleet.training.components import decoder_by_components
from vaecomp_native.fleet.training.found import Design
from vaecomp_native.fleet.training.lossless_components import decoder_for_lossless
from vaecomp_native.fleet.training.members import Members
from vaecomp_native.io import sinks
from vaecomp_native.progress import Progress, shown

if TYPE_CHECKING:
    from vaecomp_native.state_dict import Weights


@dataclass(frozen=True)
class PackReport:
    """What `train` made.

    `bytes` are the pack's, of which `base_bytes` would be the base's archive and `decoder_bytes`
    are the rest. `members` were trained on, and each has so many `latents`.

    What follows is None or empty without sample inputs. `divergence` is that of the training's last
    steps, and `divergence_kind` says which, "kl" or "mse". `common_bits` and `local_bits` are what
    the common and the local latents tell of a member, in the mean: KL(posterior || prior).
    `designs` are the decoders that were tried, and `history` is the training curve.
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
    out: sinks.Sink,
    *,
    base: Weights,
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

    A member is base + decoder(latents). With `calibration` the decoder is trained by what members
    do: decoded models are to give the members' outputs, and the decoder's size counts. Without, it
    is made of the principal components of what members differ by from the base. That takes more
    latents and bytes.

    Members to come need not be among those trained on. A few dozen alike should be.

    Args:
        members: fine-tunes of the base, each as `vaecomp_native.compress` takes weights. They are
            read one after another.
        out: where the pack goes, as for `vaecomp_native.compress`. It is none of the files read.
        base: the model that they were made from; a torch module if `calibration` is given.
        calibration: for each member batches of its inputs, without labels, as
            `vaecomp_native.compress` takes them; or a `Calibration` whose `batches` are these. A
            few hundred samples do. A member's batches may be a sequence that makes each when it
            is asked for.
        lossless: members will be compressed without loss. The components are then those that leave
            few bits, of members near the base as of those far from it. Excludes `calibration`.
        latent: latents that the whole model depends on. Of several numbers, and several of
            `hidden`, the best is chosen by members held out: each takes a training.
        hidden: units of a hidden layer (ReLU) between latents and weights, at least twice
            `latent + local`. With 0, weights are linear in the latents. Needs `calibration`.
        local: further latents of each module of the base with tensors of its own. Only these
            tensors depend on them.
        common_cost: what information in the common latents costs, relative to that in the local
            ones. Above 1, the common latents keep what modules share, and the rest moves to the
            local ones (Ryu et al. 2019, arXiv 1905.10945). Needs `calibration`.
        decoder_rate_weight: what a bit of the decoder must save of the members' mean divergence.
            Its unit is that of the divergence: nats a sample for "kl"; for "mse" squared error
            relative to the outputs' variance. Larger makes a smaller and less accurate decoder.
            Needs `calibration`.
        steps: of training, with 16 members each. Needs `calibration`.
        base_options: how the base is compressed: `codec`, one target and what it needs, as for
            `vaecomp_native.compress`; by default without loss. The decoder is trained on the base
            as it is decoded, and makes up for some of its loss.
        seed: of everything random.
        threads: threads of the native kernels, 0 for all cores.
        progress: as for `vaecomp_native.compress`.

    Raises:
        WeightsError: a member does not have the base's tensors, naming the tensor. Values that are
            not finite count as the base's.
        CalibrationError: the module rejects a batch, what it gives is not finite, a batch may hold
            labels, or the divergence must be given.
        TrainingError: training did not converge.
        OverwriteError: `out` is the base's file or a member's.
        ValueError: an option out of range, naming it.
        OSError: the pack cannot be written.
    """
    started = time.perf_counter()
    plans = [
        LatentPlan(common, local, 1, units)
        for common in _several(latent)
        for units in _several(hidden)
    ]
    samples = Calibration.of(calibration)
    if samples is not None:  # an iterator could be read only once
        samples = replace(samples, batches=list(samples.batches))
    _check_options(members, samples, lossless, plans, common_cost, decoder_rate_weight, steps)
    module = None if samples is None else as_module(base, "base")
    sinks.check_output(
        out, [one for one in (base, *members) if isinstance(one, (str, os.PathLike))]
    )
    with shown(progress) as report:
        state, encoded = encode_base(base, base_options or {}, threads, report)
        sinks.check_output(out, state.files)
        fleet = Members.of(members, state, encoded.decoded)
        plans = [replace(plan, blocks=len(fleet.layout.blocks)) for plan in plans]
        if samples is None or module is None:
            by_weights = decoder_for_lossless if lossless else decoder_by_components
            found = by_weights(fleet, plans[0], report)
        else:
            from vaecomp_native.fleet.training.function import FunctionTraining
            from vaecomp_native.fleet.training.trainer import TrainingOptions

            options = TrainingOptions(steps, decoder_rate_weight, common_cost, seed)
            found = FunctionTraining(fleet, module, samples, report).best(plans, options)
    latents = found.decoder.plan.latents
    data = pack_bytes(state, encoded, list(found.decoder.groups()), found.prior, latents)
    with Archive(data, threads=threads) as archive:
        archive.verify()
        sha256 = archive.sha256
    sinks.write(out, data)
    return PackReport(
        bytes=len(data),
        base_bytes=encoded.size,
        decoder_bytes=len(data) - encoded.size,
        members=len(members),
        latents=latents,
        sha256=sha256,
        divergence_kind=found.divergence_kind,
        divergence=found.divergence,
        common_bits=found.common_bits,
        local_bits=found.local_bits,
        designs=found.designs,
        seconds=time.perf_counter() - started,
        history=found.history,
    )


def _check_options(
    members: Sequence[Weights],
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
    given = len(list(samples.batches))
    if given != len(members):
        raise ValueError(
            f"calibration has {given} entries for {len(members)} members; give one a member"
        )


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
