"""HTML reports: one file each, pictures inside, readable in light and dark."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

NO_NUMBER = "–"
"""What stands in the place of a number that there is none of: None, NaN or an infinity."""


def render(template: str, *, package: str = __package__, **context: Any) -> str:
    """The HTML page made from ``templates/<template>`` of a package; an undefined name is an error.

    Templates of other packages may extend and import those of this one.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(__package__)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        {
            form.__name__: _or_dash(form)
            for form in (count, ratio, percent, fewer, points, duration)
        },
        decimals=lambda value, digits: _or_dash(lambda one: f"{one:,.{digits}f}")(value),
        models=models,
    )
    return environment.get_template(template).render(**context)


def _or_dash(form: Callable[[Any], str]) -> Callable[[float | None], str]:
    def shown(value: float | None) -> str:
        return NO_NUMBER if value is None or not math.isfinite(value) else form(value)

    return shown


def count(number: int) -> str:
    """A whole number with thousands separated: ``122,270``."""
    return f"{number:,}"


def ratio(value: float) -> str:
    """A compression ratio with three digits: ``31.8x``, ``0.168x``."""
    return f"{value:.3g}x" if value < 100 else f"{value:,.0f}x"


def percent(value: float) -> str:
    """A percentage: ``98.23 %``."""
    return f"{value:.2f} %"


def fewer(value: float) -> str:
    """By how many percent something is less, signed and whole: ``+12 %``."""
    return f"{round(value):+d} %"


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
