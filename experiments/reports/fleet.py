"""The page of the fleet experiment."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from experiments.reports import figures
from experiments.reports.page import page_of
from experiments.results.fleet import FleetResult, HeldOutPoint
from vaecomp_native.demo.report.drawing import RAW_COLOUR, Line

OURS = "fleet"
ALLOWED_LOSS = 1.0
"""Points below the members' own accuracy that the point shown first may have."""

COLOURS: dict[str, str] = {
    "fleet": "#2f86c9",
    "quantized": "#009e73",
    "nncodec": "#d55e00",
    "bitdelta": "#cc79a7",
}
LABELS: dict[str, str] = {
    "fleet": "shared decoder",
    "quantized": "quantized codec",
    "nncodec": "nncodec",
    "bitdelta": "BitDelta",
}
DRAWN_MEMBERS = 10_000
"""Where the picture of total bytes ends."""


def render(result: FleetResult) -> str:
    """The HTML page."""
    shown = representative(result)
    return page_of(
        "fleet.html.j2",
        result=result,
        settings=result.settings,
        machine=result.machine,
        by_codec={
            LABELS[codec]: sorted(own, key=lambda point: point.bytes_per_member)
            for codec in COLOURS
            if (own := _of(codec, result.points))
        },
        packs=[
            (pack, point)
            for pack in result.packs
            for point in result.validation
            if point.setting == pack.setting
        ],
        allowed_loss=ALLOWED_LOSS,
        accuracy_figure=figures.accuracy_against_bytes(
            [
                Line(
                    LABELS[codec],
                    colour,
                    [(p.bytes_per_member, p.accuracy_mean) for p in _of(codec, result.points)],
                    bold=codec == OURS,
                )
                for codec, colour in COLOURS.items()
                if _of(codec, result.points)
            ],
            {"members' own weights": result.accuracy_own, "base": result.accuracy_base},
        ),
        total_figure=None if shown is None else _total_figure(result, shown),
    )


def representative(result: FleetResult) -> HeldOutPoint | None:
    """Of the shared decoder's points within `ALLOWED_LOSS` of the members' own accuracy the one with the largest total ratio; the most accurate if none is."""
    ours = _scored(OURS, result.points)
    near = [p for p in ours if p.accuracy_mean >= result.accuracy_own - ALLOWED_LOSS]
    if near:
        return max(near, key=lambda point: point.ratio_total)
    return max(ours, key=lambda point: point.accuracy_mean, default=None)


def _of(codec: str, points: Sequence[HeldOutPoint]) -> list[HeldOutPoint]:
    return [point for point in points if point.codec == codec]


def _scored(codec: str, points: Sequence[HeldOutPoint]) -> list[HeldOutPoint]:
    return [point for point in _of(codec, points) if math.isfinite(point.accuracy_mean)]


def _others(shown: HeldOutPoint, points: Sequence[HeldOutPoint]) -> list[list[HeldOutPoint]]:
    """Of each other codec the points that are as accurate, or if none is, its most accurate one."""
    found = []
    for codec in COLOURS:
        own = _scored(codec, points)
        if codec != shown.codec and own:
            enough = [point for point in own if point.accuracy_mean >= shown.accuracy_mean]
            found.append(enough or [max(own, key=lambda point: point.accuracy_mean)])
    return found


def _total_figure(result: FleetResult, shown: HeldOutPoint) -> Markup:
    members = np.unique(np.geomspace(1, DRAWN_MEMBERS, 120).round())

    def series(label: str, points: Sequence[HeldOutPoint], bold: bool) -> Line:
        """The fewest bytes that any of a codec's points takes."""
        totals = [p.shared_bytes + members * p.bytes_per_member for p in points]
        return Line(
            f"{label}, {min(p.accuracy_mean for p in points):.1f} %",
            COLOURS[points[0].codec],
            list(zip(members.tolist(), np.min(totals, 0).tolist(), strict=True)),
            bold,
        )

    raw = [(n, n * result.raw_bytes) for n in members.tolist()]
    lines = [series(LABELS[shown.codec], [shown], True)]
    lines += [series(LABELS[p[0].codec], p, False) for p in _others(shown, result.points)]
    lines.append(Line("raw", RAW_COLOUR, raw, False))
    number = shown.break_even_members
    crossing = None
    if number is not None:
        total = shown.shared_bytes + number * shown.bytes_per_member
        crossing = figures.Crossing(f"fewest bytes from {number:,} on", number, total)
    return figures.bytes_against_members(lines, crossing, result.members)
