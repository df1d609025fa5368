"""The peak of memory in bytes that decoding adds: python bench/peak_memory.py FILE.vaec."""

from __future__ import annotations

import sys
from pathlib import Path

import vaecomp_native as vc


def status(field: str) -> int:
    """Read one of the system's sizes of this process, in bytes.

    Unlike the sizes of getrusage, these are not inherited from the parent.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    before = status("VmRSS")
    arrays = vc.decode(sys.argv[1])
    print(status("VmHWM") - before)
