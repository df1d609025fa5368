"""The machine and the software that made a result, for the foot of its report."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np
import torch

import vaecomp_native as vc
from vaecomp_native import kernels


def describe() -> dict[str, str]:
    """What the timings depend on."""
    return {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "processor": processor(),
        "kernels": kernels.isa(),
        "software": (
            f"vaecomp_native {vc.__version__}, Python {platform.python_version()}, "
            f"NumPy {np.__version__}, PyTorch {torch.__version__}"
        ),
    }


def processor() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
