"""Importing this makes `experiments` importable, which no wheel has."""

from __future__ import annotations

import sys
from pathlib import Path

# At the end: the checkout's package may have no compiled module, so an installed one goes first.
sys.path.append(str(Path(__file__).parents[1]))
