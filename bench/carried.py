"""Files of installed packages that carry models."""

from __future__ import annotations

import sys
from pathlib import Path


def carried(pattern: str) -> Path | None:
    """The first file of an installed package that matches."""
    return next((f for place in sys.path for f in sorted(Path(place or ".").glob(pattern))), None)
