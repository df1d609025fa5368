"""The machine and the software that made a result, for the foot of its report."""

from __future__ import annotations

import os
import platform

import numpy as np
import torch

import vaecomp_native as vc
from vaecomp_native import kernels


def describe() -> dict[str, str]:
    """What the timings depend on."""
    return {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "kernels": kernels.isa(),
        "software": (
            f"vaecomp_native {vc.__version__}, Python {platform.python_version()}, "
            f"NumPy {np.__version__}, PyTorch {torch.__version__}"
        ),
    }
