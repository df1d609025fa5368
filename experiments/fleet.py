"""Many personal fine-tunes of one classifier: a shared decoder against codecs of differences.

Members of users 0 .. N - 1 train the packs. Every codec then stores the members of further users at many operating points; on digits that no
member was trained on, each codec's points are chosen that no other of its points beats in accuracy and in bytes of the whole fleet. Only these
store the held-out members, whose test digits are read once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch

from experiments.baselines import nncodec
from experiments.bases import BASES, LossyBase, differences, lossy_base, stored_bases
from experiments.fleet_files import encode, measure
from experiments.measures.savings import frontier
from experiments.member_codecs import (
    MemberCodec,
    Pack,
    PackSetting,
    nncodec_updates,
    one_bit,
    residuals,
    shared_decoder,
    train_pack,
)
from experiments.networks.personal import NETWORK, FineTuning
from experiments.networks.training import default_epochs
from experiments.networks.users import TRAIN_DIGITS
from experiments.personal_fleet import Examination, Fleet, make_fleet
from experiments.results.fleet import FleetResult, Point, TrainedPack, compared
from vaecomp_native.demo import machine
from vaecomp_native.demo.digits import MnistData
from vaecomp_native.progress import Progress, silent

CODECS = ("fleet", "quantized", "nncodec", "bitdelta")

PACKS = (
    PackSetting(latent=8, decoder_rate_weight=4e-5),
    PackSetting(latent=8, decoder_rate_weight=1.4e-5),
    PackSetting(latent=8, decoder_rate_weight=5e-6, residuals=(1.0, 5.0)),
    PackSetting(latent=16, decoder_rate_weight=5e-6),
    PackSetting(latent=4, decoder_rate_weight=1.4e-5),
    PackSetting(latent=4, decoder_rate_weight=1.4e-5, hidden=8),
    PackSetting(latent=4, decoder_rate_weight=1.4e-5, local=1),
    PackSetting(latent=4, decoder_rate_weight=1.4e-5, local=1, common_cost=16.0),
)
RATE_WEIGHTS = (0.05, 0.2, 1.0, 2.0, 5.0, 20.0)
"""Operating points of the quantized codec on differences, from fine to coarse."""

QPS = tuple(range(-34, -11, 2))
"""Operating points of nncodec on differences, from fine to coarse."""

QUICK: dict[str, Any] = {
    "packs": (PackSetting(latent=4, decoder_rate_weight=2e-5, steps=50),),
    "rate_weights": (1.0,),
    "qps": (-26, -20),
    "bases": ("lossy",),
    "base_epochs": 1,
    "fine_tuning": FineTuning(epochs=1),
    "digits": 1000,
}
"""Options of `run` that only show that everything runs."""

HOPELESS_LOSS = 15.0
"""Points of validation accuracy below the members' own beyond which smaller files of the same kind are not tried."""


def run(
    data: MnistData,
    cache: Path,
    *,
    members: int = 256,
    held_out: int = 32,
    validation: int = 16,
    codecs: Sequence[str] = CODECS,
    packs: Sequence[PackSetting] = PACKS,
    rate_weights: Sequence[float] = RATE_WEIGHTS,
    qps: Sequence[int] = QPS,
    bases: Sequence[str] = BASES,
    base_epochs: int | None = None,
    fine_tuning: FineTuning | None = None,
    digits: int = TRAIN_DIGITS,
    workers: int = 2,
    seed: int = 0,
    progress: Progress = silent,
    notice: Callable[[str], None] = lambda line: None,
    publish: Callable[[FleetResult], None] = lambda result: None,
) -> FleetResult:
    """Run the experiment; ``publish`` gets the result.

    Models, packs and members' files are kept in ``cache`` and used again by the next run with the same settings, so that one that
    was interrupted goes on where it stopped. ``bases`` are those of codecs of differences; ``base_epochs`` defaults to what suits the data; ``digits`` are those of each user; ``workers`` are the processes that
    fine-tune members. All else runs on torch's number of threads.
    """
    notice(f"data: {data.notice}")
    fleet = make_fleet(
        data,
        cache,
        counts=(members, validation, held_out),
        base_epochs=base_epochs or default_epochs(NETWORK, data),
        digits=digits,
        settings=fine_tuning or FineTuning(),
        workers=workers,
        seed=seed,
        progress=progress,
    )
    notice("compressing the base")
    base = lossy_base(fleet, data, cache / "bases")
    trained = [
        train_pack(fleet, base, setting, cache / "packs", progress)
        for setting in (packs if "fleet" in codecs else ())
    ]
    families = _families(
        fleet, base, data, cache, codecs, trained, rate_weights, qps, bases, notice
    )
    tried = _validate(fleet, families, cache, progress)
    chosen = _choose(tried.points, members)
    for done, codec in enumerate(chosen, start=1):
        encode(codec, fleet.held_out, cache)
        progress("coding held-out members", done, len(chosen), {})
    # Only now are test digits looked at.
    test = Examination(fleet, fleet.held_out, test=True)
    points = [measure(codec, test, cache, "test") for codec in chosen]
    result = FleetResult(
        members=members,
        held_out=held_out,
        accuracy_base=test.of_one(fleet.base_arrays),
        accuracy_own=test.own,
        points=compared(points, fleet.raw_bytes, members),
        raw_bytes=fleet.raw_bytes,
        validation_accuracy_base=tried.base,
        validation_accuracy_own=tried.own,
        validation=tuple(point for _, point in tried.points),
        packs=tuple(
            TrainedPack(
                pack.setting.options,
                pack.path.stat().st_size,
                pack.report["common_bits"],
                pack.report["local_bits"],
                pack.report["seconds"],
            )
            for pack in trained
        ),
        settings=_settings(data, fleet, digits, seed),
        machine=machine.describe(),
    )
    publish(result)
    for name in dict.fromkeys(point.codec for point in result.points):
        notice(_summary(name, result))
    return result


Family = Sequence[MemberCodec]
"""Operating points of one kind, from fine to coarse."""


def _families(
    fleet: Fleet,
    base: LossyBase,
    data: MnistData,
    cache: Path,
    codecs: Sequence[str],
    packs: Sequence[Pack],
    rate_weights: Sequence[float],
    qps: Sequence[int],
    bases: Sequence[str],
    notice: Callable[[str], None],
) -> list[Family]:
    """What is tried; without nncodec if it is not installed, which `notice` is told."""
    families: list[Family] = [
        [shared_decoder(fleet, pack, weight)]
        for pack in packs
        for weight in (None, *pack.setting.residuals)
    ]
    if not {"quantized", "nncodec", "bitdelta"}.intersection(codecs):
        return families
    found = differences(fleet, stored_bases(fleet, base, data, cache / "bases", bases))
    if "quantized" in codecs:
        families += [[residuals(fleet, one, weight) for weight in rate_weights] for one in found]
    if "nncodec" in codecs and not nncodec.installed():
        notice(f"nncodec is not installed and left out: {nncodec.INSTALL}")
    elif "nncodec" in codecs:
        families += [
            [nncodec_updates(fleet, one, qp, opt_qp) for qp in qps]
            for one in found
            for opt_qp in (False, True)
        ]
    if "bitdelta" in codecs:
        based = [one for one in found if one.base.bytes]
        families += [[one_bit(fleet, one, how)] for one in based for how in ("mean", "distilled")]
    return families


@dataclass(frozen=True)
class _Tried:
    """All points on validation members, and the mean accuracies of base and own weights."""

    points: list[tuple[MemberCodec, Point]]
    base: float
    own: float


def _validate(fleet: Fleet, families: Sequence[Family], cache: Path, progress: Progress) -> _Tried:
    examination = Examination(fleet, fleet.validation, test=False)
    own, total = examination.own, sum(map(len, families))
    points: list[tuple[MemberCodec, Point]] = []
    for family, end in zip(families, accumulate(map(len, families)), strict=True):
        for done, codec in enumerate(family, start=end - len(family) + 1):
            point = measure(codec, examination, cache, "validation")
            points.append((codec, point))
            metrics = {"bytes": point.bytes_per_member, "accuracy": point.accuracy_mean}
            progress("coding validation members", done, total, metrics)
            if point.accuracy_mean < own - HOPELESS_LOSS:
                break
    return _Tried(points, examination.of_one(fleet.base_arrays), own)


def _choose(tried: Sequence[tuple[MemberCodec, Point]], members: int) -> list[MemberCodec]:
    """Of each codec the points that no other one of it beats in accuracy and bytes of the fleet."""

    def pair(point: Point) -> tuple[float, float]:
        return point.shared_bytes + members * point.bytes_per_member, -point.accuracy_mean

    best = {
        name: set(frontier(pair(point) for _, point in tried if point.codec == name))
        for name in {point.codec for _, point in tried}
    }
    return [codec for codec, point in tried if pair(point) in best[point.codec]]


def _summary(codec: str, result: FleetResult) -> str:
    """A codec's points in one line."""
    points = ", ".join(
        f"{point.accuracy_mean:.2f} % at {point.bytes_per_member:,.0f} B"
        for point in result.points
        if point.codec == codec
    )
    return f"{codec}: {points}"


def _settings(data: MnistData, fleet: Fleet, digits: int, seed: int) -> dict[str, str | int]:
    """How it was measured, for the JSON and the page."""
    counts = [len(part) for part in (fleet.training, fleet.validation, fleet.held_out)]
    settings: dict[str, str | int] = {
        "command": (
            f"python -m experiments fleet --members {counts[0]} --validation {counts[1]} "
            f"--held-out {counts[2]} --seed {seed} --threads {torch.get_num_threads()}"
        ),
        "data": data.notice,
        "members in packs": counts[0],
        "validation members": counts[1],
        "held-out members": counts[2],
        "training digits a member": min(digits, len(data.train)),
        "calibration digits a member": sum(map(len, fleet.calibration(0))),
        "test digits a member": len(fleet.users.user(0).test),
        "seed": seed,
        "threads": torch.get_num_threads(),
    }
    if nncodec.installed():
        settings["nncodec"] = nncodec.version()
    return settings
