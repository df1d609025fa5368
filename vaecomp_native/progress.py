"""Progress of long runs: one type of callback, and a bar on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

Progress = Callable[[str, int, int, Mapping[str, float]], None]
"""A callback, called as ``progress(stage, done, total, metrics)``.

``stage`` names the work that runs. ``done`` of its ``total`` steps are over. ``metrics`` holds the
latest figures, such as ``{"loss": 0.12}``.
"""


def silent(stage: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
    """Report nothing."""


@contextmanager
def shown(progress: Progress | bool) -> Iterator[Progress]:
    """Turn the `progress` argument of a library call into a callback.

    True draws a bar, False reports nothing, and a callback stays as it is.
    """
    if callable(progress):
        yield progress
    elif progress:
        with console() as bar:
            yield bar
    else:
        yield silent


@contextmanager
def console() -> Iterator[Progress]:
    """Draw a bar on standard error while the block runs: steps, metrics, time spent and time left.

    The bar is removed at the end. Nothing is drawn when standard error is not a terminal, so that
    logs and pipes stay clean.
    """
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[metrics]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _Bar(bars)


class _Bar:
    """A `Progress` that shows the running stage as one bar."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._stage: str | None = None
        self._done = 0
        self._task: TaskID | None = None

    def __call__(self, stage: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        # The next model may start a stage of the same name again, which gets a clock of its own.
        if self._task is None or stage != self._stage or done < self._done:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._task = self._bars.add_task(stage, total=total, metrics="")
        self._stage, self._done = stage, done
        text = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        self._bars.update(self._task, completed=done, total=total, metrics=text)


class Steps:
    """Counts the steps of a stage and reports each."""

    def __init__(self, progress: Progress, stage: str, total: int) -> None:
        """Begin a stage of `total` steps."""
        self._progress = progress
        self._stage = stage
        self._total = total
        self._done = 0

    def __call__(self, steps: int = 1) -> None:
        """Report that so many more steps are over."""
        self._done += steps
        self._progress(self._stage, self._done, self._total, {})
