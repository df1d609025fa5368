"""Many small things are treated together, so that what a call costs for itself does not count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

Name = TypeVar("Name")
BATCH_ELEMENTS = 1 << 18
"""Few enough that temporary arrays stay small beside a large model."""


def batches(sizes: Mapping[Name, int], most: int = BATCH_ELEMENTS) -> Iterator[list[Name]]:
    """Cuts names, in their order, into runs of at most `most` in all, or of one larger tensor."""
    run: list[Name] = []
    total = 0
    for name, size in sizes.items():
        if run and total + size > most:
            yield run
            run, total = [], 0
        run.append(name)
        total += size
    if run:
        yield run
