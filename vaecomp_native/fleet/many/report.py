"""What becomes of many members: the files that each is read from and written to, and a report."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, Literal

from vaecomp_native.errors import VaecompError
from vaecomp_native.fleet.many import storage
from vaecomp_native.io.urls import Location
from vaecomp_native.progress import Progress, shown

Status = Literal["made", "kept", "failed"]


@dataclass(frozen=True)
class Item:
    """A member's name, and where it is read from and written to."""

    name: str
    source: str
    output: str


@dataclass(frozen=True)
class Outcome:
    """What became of a member.

    `bytes` is the size of the file written or kept, `source_bytes` that of the one read. Members
    that were made have a `relative_error`, the squared error of their weights, and name in
    `kept_exact` the tensors that no decoder could follow. `reason` says why a member failed.
    """

    name: str
    source: str
    output: str
    status: Status
    seconds: float
    source_bytes: int | None = None
    bytes: int | None = None
    relative_error: float | None = None
    kept_exact: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(frozen=True)
class ManyReport:
    """What became of each member, in the members' order, and the seconds all took together."""

    members: Sequence[Outcome]
    seconds: float

    @property
    def counts(self) -> Mapping[str, int]:
        """Members made, kept and failed."""
        statuses = [member.status for member in self.members]
        return {status: statuses.count(status) for status in ("made", "kept", "failed")}

    @property
    def failed(self) -> Sequence[Outcome]:
        """Members that could not be made; their `reason` says why."""
        return [member for member in self.members if member.status == "failed"]

    @property
    def bytes(self) -> int:
        """Of all members' files; the pack is not counted."""
        return sum(member.bytes or 0 for member in self.members)

    @property
    def source_bytes(self) -> int:
        """Of the files that the members were made of."""
        return sum(member.source_bytes or 0 for member in self.members)

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        sums = {"bytes": self.bytes, "source_bytes": self.source_bytes}
        return {**self.counts, **sums, **asdict(self)}


def items_of(members: Location | Sequence[Location], out: Location, suffix: str) -> list[Item]:
    """The members' files, each with its output below `out`. Raises what `find_files` does."""
    return [
        Item(name, source, storage.join(out, name + suffix))
        for name, source in storage.find_files(members).items()
    ]


def collect(
    outcomes: Generator[Outcome, None, None],
    items: Sequence[Item],
    stage: str,
    progress: Progress | bool,
) -> list[Outcome]:
    """All outcomes in the items' order, counted as they come.

    The generator is closed when it is through, and when it is interrupted.
    """
    found: dict[str, Outcome] = {}
    failures = 0
    with shown(progress) as report, closing(outcomes):
        report(stage, 0, len(items), {})
        for outcome in outcomes:
            found[outcome.name] = outcome
            failures += outcome.status == "failed"
            report(stage, len(found), len(items), {"failed": failures} if failures else {})
    return [found[item.name] for item in items]


def failed(item: Item, error: Exception, started: float) -> Outcome:
    """The outcome of a member that `error` came in the way of, with a reason of one line.

    `started` is when work on it began, by `time.perf_counter`.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    foreseen = isinstance(error, (VaecompError, OSError))
    reason = text if foreseen else f"{type(error).__name__}: {text}"
    seconds = time.perf_counter() - started
    return Outcome(item.name, item.source, item.output, "failed", seconds, reason=reason)
