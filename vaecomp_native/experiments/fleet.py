"""Many personal fine-tunes of one classifier: a shared decoder against codecs of differences.

Members of users 0 .. N - 1 train the packs. Every codec then stores the members of further users at many operating points; on digits that no
member was trained on, each codec's points are chosen that no other of its points beats in accuracy and in bytes of the whole fleet. Only these
store the held-out members, whose test digits are read once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

import torch

from vaecomp_native.accounting import amortized_ratio, cheaper_from
from vaecomp_native.evaluation import nncodec
from vaecomp_native.evaluation.savings import frontier
from vaecomp_native.experiments.files import write_json, write_text
from vaecomp_native.experiments.member_codecs import (
    BASES,
    LossyBase,
    MemberCodec,
    Pack,
    PackSetting,
    differences,
    lossy_base,
    nncodec_updates,
    one_bit,
    residuals,
    shared_decoder,
    stored_bases,
    train_pack,
)
from vaecomp_native.experiments.personal_fleet import Examination, Fleet, make_fleet
from vaecomp_native.experiments.report import machine
from vaecomp_native.experiments.report.fleet import render_fleet
from vaecomp_native.progress import Progress, silent
from vaecomp_native.zoo.mnist import MnistData
from vaecomp_native.zoo.personal import NETWORK, TRAIN_DIGITS, FineTuning
from vaecomp_native.zoo.training import default_epochs

CODECS = ("fleet", "quantized", "nncodec", "bitdelta")

PACKS = (
    PackSetting(latent=8, rate_weight=4e-5),
    PackSetting(latent=8, rate_weight=1.4e-5),
    PackSetting(latent=8, rate_weight=5e-6, residuals=(1.0, 5.0)),
    PackSetting(latent=16, rate_weight=5e-6),
    PackSetting(latent=4, rate_weight=1.4e-5),
    PackSetting(latent=4, rate_weight=1.4e-5, hidden=8),
    PackSetting(latent=4, rate_weight=1.4e-5, local=1),
    PackSetting(latent=4, rate_weight=1.4e-5, local=1, common_cost=16.0),
)
RATE_WEIGHTS = (0.05, 0.2, 1.0, 2.0, 5.0, 20.0)
"""Operating points of the quantized codec on differences, from fine to coarse."""

QPS = tuple(range(-34, -11, 2))
"""Operating points of nncodec on differences, from fine to coarse."""

QUICK: dict[str, Any] = {
    "packs": (PackSetting(latent=4, rate_weight=2e-5, steps=50),),
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


ENCODE_SECONDS = "seconds.json"
"""Beside a codec's files."""


@dataclass(frozen=True)
class Point:
    """A codec's operating point: bytes of its files for some members, and what these decode to.

    Accuracies in percent: mean and worst over the members; ``agreement`` is how often a decoded member says what its original says. Seconds
    are a member's.
    """

    codec: str
    setting: Mapping[str, float | str]
    accuracy_mean: float
    accuracy_worst: float
    agreement: float
    bytes_per_member: float
    shared_bytes: int
    encode_seconds: float | None
    decode_seconds: float


@dataclass(frozen=True)
class HeldOutPoint(Point):
    """On held-out members, with what it is worth.

    ``ratio_per_member`` is of a member's raw bytes over its file, ``ratio_total`` of all models' over all bytes. ``break_even_members``: the smallest
    number of members for which this takes fewer bytes than every point of the other codecs that is as accurate, or if none is, than their most accurate one;
    None if no number of members will do.
    """

    ratio_per_member: float
    ratio_total: float
    break_even_members: int | None


@dataclass(frozen=True)
class TrainedPack:
    """A pack: its bytes with the base, what its common and its local latents tell of a member (KL(posterior || prior), the mean), and seconds of training."""

    setting: Mapping[str, float]
    bytes: int
    common_bits: float
    local_bits: float
    seconds: float


@dataclass(frozen=True)
class FleetResult:
    """Held-out members in ``points``, what the choice was made from in ``validation``.

    ``accuracy_base`` and ``accuracy_own`` are the means of the base and of members' own weights on the held-out members' test digits.
    """

    members: int
    held_out: int
    accuracy_base: float
    accuracy_own: float
    points: tuple[HeldOutPoint, ...]
    raw_bytes: int
    validation_accuracy_base: float
    validation_accuracy_own: float
    validation: tuple[Point, ...]
    packs: tuple[TrainedPack, ...]
    settings: Mapping[str, Any]
    machine: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-able objects."""
        return asdict(self)


def run(
    data: MnistData,
    out: Path,
    *,
    members: int = 256,
    held_out: int = 32,
    validation: int = 16,
    cache: Path | None = None,
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
) -> FleetResult:
    """Run the experiment; write ``fleet.json`` and ``report.html`` to ``out``.

    Models, packs and members' files are kept in ``cache``, by default a folder of ``out``, and used again by the next run with the same settings, so that one that
    was interrupted goes on where it stopped. ``bases`` are those of codecs of differences; ``base_epochs`` defaults to what suits the data; ``digits`` are those of each user; ``workers`` are the processes that
    fine-tune members. All else runs on torch's number of threads.
    """
    out.mkdir(parents=True, exist_ok=True)
    cache = cache or out / "cache"
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
        _encode(codec, fleet.held_out, cache)
        progress("coding held-out members", done, len(chosen), {})
    # Only now are test digits looked at.
    test = Examination(fleet, fleet.held_out, test=True)
    points = [_measure(codec, test, cache, "test") for codec in chosen]
    result = FleetResult(
        members=members,
        held_out=held_out,
        accuracy_base=test.of_one(fleet.base_arrays),
        accuracy_own=test.own,
        points=_compared(points, fleet.raw_bytes, members),
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
    write_text(out / "report.html", render_fleet(result))
    write_json(out / "fleet.json", result.to_dict())
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
            point = _measure(codec, examination, cache, "validation")
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


def _folder(codec: MemberCodec, cache: Path) -> Path:
    return cache / "files" / f"{codec.codec}-{codec.key[:16]}"


def _encode(codec: MemberCodec, numbers: Sequence[int], cache: Path) -> list[Path]:
    """The members' files; those that are there are used again."""
    folder = _folder(codec, cache)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"member-{number:04d}{codec.suffix}" for number in numbers]
    spent = []
    try:
        for number, path in zip(numbers, paths, strict=True):
            if not path.exists():
                start = time.perf_counter()
                codec.encode(number, path)
                spent.append(time.perf_counter() - start)
    finally:
        if spent:
            write_json(folder / ENCODE_SECONDS, {"mean": fmean(spent)})
    return paths


def _measure(codec: MemberCodec, examination: Examination, cache: Path, part: str) -> Point:
    """Encode the members that are examined and score what their files decode to, or look up what came of it."""
    notes = _folder(codec, cache) / f"{part}.json"
    numbers = list(examination.numbers)
    if notes.exists() and (known := json.loads(notes.read_text("utf-8")))["numbers"] == numbers:
        return Point(**known["point"])
    paths = _encode(codec, numbers, cache)
    spent = notes.with_name(ENCODE_SECONDS)
    start = time.perf_counter()
    decoded = codec.decode(paths)
    decode_seconds = (time.perf_counter() - start) / len(paths)
    scores = examination.scores(decoded)
    point = Point(
        codec=codec.codec,
        setting=codec.setting,
        accuracy_mean=scores.accuracy,
        accuracy_worst=min(scores.accuracies),
        agreement=scores.agreement,
        bytes_per_member=fmean(path.stat().st_size for path in paths),
        shared_bytes=codec.shared_bytes,
        encode_seconds=json.loads(spent.read_text("utf-8"))["mean"] if spent.exists() else None,
        decode_seconds=decode_seconds,
    )
    write_json(notes, {"numbers": numbers, "point": asdict(point)})
    return point


def _compared(points: Sequence[Point], raw_bytes: int, members: int) -> tuple[HeldOutPoint, ...]:
    return tuple(
        HeldOutPoint(
            **asdict(point),
            ratio_per_member=raw_bytes / point.bytes_per_member,
            ratio_total=amortized_ratio(
                raw_bytes, point.shared_bytes, point.bytes_per_member, members
            ),
            break_even_members=break_even(point, points),
        )
        for point in points
    )


def break_even(point: Point, points: Sequence[Point]) -> int | None:
    """``break_even_members`` of a point among the points of all codecs."""
    return cheaper_from(
        point.shared_bytes,
        point.bytes_per_member,
        [(one.shared_bytes, one.bytes_per_member) for one in rivals(point, points)],
    )


PointKind = TypeVar("PointKind", bound=Point)


def rivals(point: Point, points: Sequence[PointKind]) -> list[PointKind]:
    """The points of other codecs that are as accurate, or if none is, the most accurate ones."""
    others = [one for one in points if one.codec != point.codec]
    most = max((one.accuracy_mean for one in others), default=0.0)
    return [one for one in others if one.accuracy_mean >= min(point.accuracy_mean, most)]


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
            f"vaecomp experiment fleet --members {counts[0]} --validation {counts[1]} "
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
