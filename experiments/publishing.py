"""An experiment's result as JSON and as a page, written whenever a part is finished."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from vaecomp_native.demo.files import write_json, write_text


class Result(Protocol):
    """What an experiment found."""

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-able objects."""


def publisher(name: str, out: Path) -> Callable[[Result], None]:
    """Writes results of the experiment ``name`` to ``out``, as ``NAME.json`` and ``report.html``."""
    out.mkdir(parents=True, exist_ok=True)
    render = import_module(f"experiments.reports.{name}").render

    def publish(result: Result) -> None:
        write_text(out / "report.html", render(result))
        write_json(out / f"{name}.json", result.to_dict())

    return publish
