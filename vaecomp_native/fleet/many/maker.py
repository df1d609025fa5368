"""One of many members: made, or kept because it is there already."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from vaecomp_native.archive import Archive
from vaecomp_native.errors import ArchiveError, WeightsError
from vaecomp_native.fleet.compress import compress
from vaecomp_native.fleet.many import storage
from vaecomp_native.fleet.many.report import Item, Outcome, failed
from vaecomp_native.fleet.pack import Pack
from vaecomp_native.io.checkpoints.directory import INDEX_SUFFIX
from vaecomp_native.io.sources import Source

MADE_OF = "made_of"
"""Metadata of a member: its input's digest and its options, short beside a few latents."""


@dataclass(frozen=True)
class MakerOptions:
    """What members are made with; `threads` changes the time it takes and nothing else."""

    rate_weight: float | None = None
    lossless: bool = False
    overwrite: bool = False
    threads: int = 1

    def record(self, source: Path) -> dict[str, str]:
        """Metadata that tell what a member's bytes depend on besides the pack.

        Its form is "sha256-<base64> <options>".
        """
        made_of = f"sha256-{storage.sha256(source)}"
        if self.lossless:
            made_of += " lossless"
        if self.rate_weight is not None:
            made_of += f" rate_weight={self.rate_weight!r}"
        return {MADE_OF: made_of}


class Maker:
    """Makes members of one pack. Safe to use from several threads."""

    def __init__(self, pack: Source, *, threads: int = 0) -> None:
        """Open the pack. Raises ArchiveError if it is none, OSError."""
        self._pack = Pack(pack, threads=threads)

    def make(self, item: Item, options: MakerOptions) -> Outcome:
        """Write a member's file, unless it is there; whatever goes wrong is in the outcome."""
        started = time.perf_counter()
        try:
            with storage.local_copy(item.source) as source:
                return self._make(item, source, options, started)
        except Exception as error:
            return failed(item, error, started)

    def _make(self, item: Item, source: Path, options: MakerOptions, started: float) -> Outcome:
        if source.name.endswith(INDEX_SUFFIX):
            # The digest of an index would not tell whether the shards have changed.
            raise WeightsError("is an index of shards; a member is one file: join the shards first")
        record = options.record(source)
        size = None if options.overwrite else self._size_of_current(item.output, record, options)
        report = None
        if size is None:
            with storage.output(item.output) as path:
                report = compress(
                    source,
                    path,
                    pack=self._pack,
                    rate_weight=options.rate_weight,
                    lossless=options.lossless,
                    metadata=record,
                    threads=options.threads,
                )
        return Outcome(
            item.name,
            item.source,
            item.output,
            status="made" if report else "kept",
            seconds=time.perf_counter() - started,
            source_bytes=source.stat().st_size,
            bytes=report.bytes if report else size,
            relative_error=report.relative_error if report else None,
            kept_exact=report.kept_exact if report else (),
        )

    def _size_of_current(
        self, output: str, record: dict[str, str], options: MakerOptions
    ) -> int | None:
        """Bytes of an output that is whole and was made of the same, or None."""
        try:
            with Archive(output, pack=self._pack.archive, threads=options.threads) as archive:
                info = archive.info
                if archive.pack_sha256 is None or not record.items() <= info.metadata.items():
                    return None
                archive.verify()
        except (ArchiveError, OSError):
            return None
        return info.bytes["total"]
