"""One member of many: made, kept because it is there already, or reported with what is wrong."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import vaecomp_native as vc
from vaecomp_native.errors import ArchiveError, VaecompError, WeightsError
from vaecomp_native.fleet import storage
from vaecomp_native.fleet.member import compress
from vaecomp_native.fleet.pack import Pack
from vaecomp_native.io.checkpoints.directory import INDEX_SUFFIX
from vaecomp_native.io.sources import Source
from vaecomp_native.progress import silent

Status = Literal["made", "kept", "failed"]
MADE_OF = "made_of"
"""Metadata of a member: its input's digest and the options that made it, short beside a few latents."""


@dataclass(frozen=True)
class Item:
    """A member's name, and where it is read from and written to."""

    name: str
    source: str
    output: str


@dataclass(frozen=True)
class Options:
    """What members are made with; `threads` changes the time it takes and nothing else."""

    rate_weight: float | None = None
    lossless: bool = False
    overwrite: bool = False
    threads: int = 1

    def record(self, source: Path) -> dict[str, str]:
        """Metadata that tells what a member's bytes depend on besides the pack: "sha256-<base64> <options>"."""
        made_of = f"sha256-{storage.sha256(source)}"
        if self.lossless:
            made_of += " lossless"
        if self.rate_weight is not None:
            made_of += f" rate_weight={self.rate_weight!r}"
        return {MADE_OF: made_of}


@dataclass(frozen=True)
class Outcome:
    """What became of a member.

    `bytes` has the size of the file written or kept, `source_bytes` that of the one read, `relative_error` the squared error of the decoded weights
    (of members made), `kept_exact` their tensors that are stored without loss because no decoder could follow them, `reason` what is wrong with one that failed.
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


class Maker:
    """Makes members of one pack. Safe to use from several threads."""

    def __init__(self, pack: Source, *, threads: int = 0) -> None:
        """Open the pack. Raises ArchiveError if it is none, OSError."""
        self._pack = Pack(pack, threads=threads)

    def make(self, item: Item, options: Options) -> Outcome:
        """Write a member's file, unless it is there; whatever goes wrong is in the outcome."""
        started = time.perf_counter()
        try:
            with storage.local_copy(item.source) as source:
                status, size, loss, kept_exact = self._make(source, item.output, options)
                source_bytes = source.stat().st_size
        except Exception as error:
            return failed(item, error, time.perf_counter() - started)
        seconds = time.perf_counter() - started
        return Outcome(
            item.name,
            item.source,
            item.output,
            status,
            seconds,
            source_bytes,
            size,
            loss,
            kept_exact,
        )

    def _make(
        self, source: Path, output: str, options: Options
    ) -> tuple[Status, int, float | None, tuple[str, ...]]:
        """Status, bytes of the file, error, tensors that are stored without loss."""
        if source.name.endswith(INDEX_SUFFIX):
            # The digest of an index would not tell whether the shards have changed.
            raise WeightsError("is an index of shards; a member is one file: join the shards first")
        record = options.record(source)
        if not options.overwrite and (size := self._size_of_current(output, record, options)):
            return "kept", size, None, ()
        with storage.output(output) as path:
            report = compress(
                source,
                self._pack,
                path,
                rate_weight=options.rate_weight,
                lossless=options.lossless,
                metadata=record,
                threads=options.threads,
                progress=silent,
            )
        return "made", report.bytes, report.relative_error, report.kept_exact

    def _size_of_current(self, output: str, record: dict[str, str], options: Options) -> int | None:
        """Bytes of an output that is whole and was made of this pack, input and options; None for any other."""
        try:
            with vc.open(output, pack=self._pack.archive, threads=options.threads) as archive:
                info = archive.info
                if archive.pack_sha256 is None or not record.items() <= info.metadata.items():
                    return None
                archive.verify()
        except (ArchiveError, OSError):
            return None
        return info.bytes["total"]


def failed(item: Item, error: Exception, seconds: float) -> Outcome:
    """The outcome of a member that `error` came in the way of, with a reason of one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    foreseen = isinstance(error, (VaecompError, OSError))
    reason = text if foreseen else f"{type(error).__name__}: {text}"
    return Outcome(item.name, item.source, item.output, "failed", seconds, reason=reason)
