"""Importing this module makes `experiments` importable, which is not in the wheel."""

from __future__ import annotations

import sys
from pathlib import Path

# The checkout goes last, because its package may have no compiled module and an installed one has.
sys.path.append(str(Path(__file__).parents[1]))
