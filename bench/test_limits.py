"""Check on small inputs that bench/limits.py compiles, runs and prints everything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from peaks import Peaks
from results import TARGETS

FOLDER = Path(__file__).parent


def test_peaks_do_work() -> None:
    peaks = Peaks()
    for kind in ("fp32", "int8"):
        assert peaks.name(kind)
        assert peaks.run(kind) > 0


def test_a_quick_run_prints_every_figure(tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "limits.py"), "--quick", "--json"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    found = json.loads(printed.stdout)
    assert found.keys() == {*TARGETS, "raw", "machine"}
    assert all(value is None or value > 0 for value in (found[key] for key in TARGETS))
    limits, picture = tmp_path / "limits.json", tmp_path / "roofline.svg"
    limits.write_text(printed.stdout, encoding="utf-8")
    subprocess.run([sys.executable, str(FOLDER / "roofline.py"), limits, picture], check=True)
    assert picture.stat().st_size > 0
