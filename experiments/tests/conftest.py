"""The product's fixtures, and `experiments` importable by the processes that tests start."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# At the end: the checkout's package may have no compiled module, so an installed one goes first.
sys.path.append(str(ROOT))

from python_tests.conftest import _away_from_the_sources  # noqa: E402, F401 - and its profile
