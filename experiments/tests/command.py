"""The command line of the experiments in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def experiments(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """``python -m experiments`` in the checkout, where it belongs."""
    return subprocess.run(
        [sys.executable, "-m", "experiments", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )
