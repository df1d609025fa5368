"""Pages from the experiments' own templates, which build on those of the demonstration."""

from __future__ import annotations

from typing import Any

from vaecomp_native.demo.report import page


def page_of(template: str, **context: Any) -> str:
    """The HTML page made from ``templates/<template>`` beside this module."""
    return page.render(template, package=__package__, **context)
