"""The operating point of large weights, and the next if that one takes too many bytes."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from vaecomp_native.compression.choice import MARGIN, MARGIN_BYTES, RunnerUp
from vaecomp_native.compression.groups import OperatingPoint, groups_of
from vaecomp_native.compression.options import EXACT
from vaecomp_native.compression.request import Request
from vaecomp_native.compression.survey import Survey, exact_point
from vaecomp_native.errors import UnreachableError
from vaecomp_native.progress import Steps

MAX_ATTEMPTS = 6
"""The most times that weights are encoded for one maximum size. One is nearly always enough."""


class OperatingPoints:
    """The points of one request, whose survey is made when it is first needed."""

    def __init__(self, request: Request) -> None:
        """Take the request."""
        self._request = request
        self._attempts = 1

    @cached_property
    def _survey(self) -> Survey:
        request = self._request
        groups = len(groups_of(request, request.state.names))
        return Survey(request, Steps(request.progress, "surveying", groups))

    def first(self) -> OperatingPoint:
        """The point to begin with. Raises UnreachableError if it would take far too many bytes."""
        codec = self._request.codec
        if codec in EXACT:
            point = exact_point(self._request, codec)
            goal = self._request.target.file_bytes
            if goal is not None and point.bytes > MARGIN * goal + MARGIN_BYTES:
                raise _too_large(point, point.bytes, goal)
            return point
        if codec != "auto":
            return self._survey.point()
        obstacles = self._survey.obstacles()
        compared = [
            RunnerUp(name, None, None, one.why, one.estimated_bytes)
            for name, one in obstacles.items()
        ]
        if "quantized" in obstacles:
            return replace(exact_point(self._request, "lossless"), compared=compared)
        return replace(self._survey.point(), compared=compared)

    def after(self, point: OperatingPoint, size: int) -> OperatingPoint | None:
        """The point to go on with if a point made an archive of `size` bytes; None if that fits.

        Raises UnreachableError if no point fits.
        """
        goal = self._request.target.file_bytes
        if goal is None or size <= goal:
            return None
        if point.codec in EXACT or self._attempts == MAX_ATTEMPTS:
            raise _too_large(point, size, goal)
        self._attempts += 1
        smaller = self._survey.smaller_point(point, size - goal)
        return replace(smaller, compared=point.compared)


def _too_large(point: OperatingPoint, size: int, goal: int) -> UnreachableError:
    return UnreachableError(
        f"codec '{point.codec}' takes about {size:,} bytes, more than {goal:,}; ask for more bytes "
        "or bits_per_weight"
    )
