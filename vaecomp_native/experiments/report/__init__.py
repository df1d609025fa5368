"""HTML reports: one file each, pictures inside, readable in light and dark."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, **context: Any) -> str:
    """The HTML page made from ``templates/<template>``; an undefined name is an error."""
    environment = Environment(
        loader=PackageLoader("vaecomp_native.experiments.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=count, ratio=ratio, percent=percent, points=points, duration=duration, models=models
    )
    return environment.get_template(template).render(**context)


def count(number: int) -> str:
    """A whole number with thousands separated: ``122,270``."""
    return f"{number:,}"


def ratio(value: float) -> str:
    """A compression ratio with three digits: ``31.8x``, ``0.168x``."""
    return f"{value:.3g}x" if value < 100 else f"{value:,.0f}x"


def percent(value: float) -> str:
    """A percentage: ``98.23 %``."""
    return f"{value:.2f} %"


def points(value: float) -> str:
    """A signed difference of two percentages: ``-0.20``; never ``-0.00``."""
    return f"{round(value, 2) + 0.0:+.2f}"


def duration(seconds: float) -> str:
    """A time with a unit that suits it: ``1.24 ms``, ``12.3 s``, ``3 min 5 s``."""
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def models(number: int | None) -> str:
    """A break-even number of models; ``never`` if there is none."""
    return "never" if number is None else f"{number:,}"
