"""A fleet: operating points of every codec, and what they are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from experiments.measures.costs import cheaper_from
from vaecomp_native.accounting import amortized_ratio


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


def compared(points: Sequence[Point], raw_bytes: int, members: int) -> tuple[HeldOutPoint, ...]:
    """Points of all codecs on held-out members, with what they are worth for a fleet of ``members``."""
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
