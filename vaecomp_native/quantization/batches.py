"""Batches of small things that are treated together, so that the overhead of calls is small."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

Name = TypeVar("Name")
BATCH_ELEMENTS = 1 << 18
"""The maximum elements of a batch: temporary arrays stay small beside a large model."""


def batches(sizes: Mapping[Name, int], max_size: int = BATCH_ELEMENTS) -> Iterator[list[Name]]:
    """Cut names, in their order, into runs of size `max_size` or less, or of one larger tensor."""
    run: list[Name] = []
    total = 0
    for name, size in sizes.items():
        if run and total + size > max_size:
            yield run
            run, total = [], 0
        run.append(name)
        total += size
    if run:
        yield run
