"""Compress the weights of neural networks into latent archives, and decode them bit for bit.

>>> import vaecomp_native as vc
>>> report = vc.compress(module, "model.vaec")
>>> weights = vc.decode("model.vaec")

Importing this package imports NumPy and the code that reads archives. The rest is imported when it
is first used, and torch when `compress` trains.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

try:
    from vaecomp_native._core import __version__, format_version
except ImportError as error:
    raise ImportError(
        f"the compiled module cannot be loaded from {__path__[0]} ({error}); in a source checkout, "
        "run `pip install --no-build-isolation -e .`, or start Python in another directory"
    ) from error
from vaecomp_native.archive import Archive, ArchiveInfo, TensorInfo
from vaecomp_native.errors import (
    ArchiveError,
    CalibrationError,
    MissingPackError,
    ModuleMismatchError,
    OverwriteError,
    ShardingError,
    TrainingError,
    UnreachableError,
    UnsupportedVersionError,
    VaecompError,
    WeightsError,
)
from vaecomp_native.opening import decode, open, verify
from vaecomp_native.sharded import ShardedArchive

if TYPE_CHECKING:
    from vaecomp_native import fleet, torch
    from vaecomp_native.calibration.config import Calibration
    from vaecomp_native.codecs.vae.config import VaeConfig
    from vaecomp_native.compression.choice import RunnerUp
    from vaecomp_native.compression.curve import RatePoint, rate_distortion
    from vaecomp_native.compression.pipeline import compress
    from vaecomp_native.compression.plan import Plan, plan
    from vaecomp_native.compression.report import CompressionReport
    from vaecomp_native.torch import LoadReport, load_into

__all__ = [
    "Archive",
    "ArchiveError",
    "ArchiveInfo",
    "Calibration",
    "CalibrationError",
    "CompressionReport",
    "LoadReport",
    "MissingPackError",
    "ModuleMismatchError",
    "OverwriteError",
    "Plan",
    "RatePoint",
    "RunnerUp",
    "ShardedArchive",
    "ShardingError",
    "TensorInfo",
    "TrainingError",
    "UnreachableError",
    "UnsupportedVersionError",
    "VaeConfig",
    "VaecompError",
    "WeightsError",
    "__version__",
    "compress",
    "decode",
    "fleet",
    "format_version",
    "load_into",
    "open",
    "plan",
    "rate_distortion",
    "torch",
    "verify",
]

# A service reads archives and never writes one. Without these modules its import takes a third of
# the time.
_HOMES = {
    "Calibration": "calibration.config",
    "VaeConfig": "codecs.vae.config",
    "CompressionReport": "compression.report",
    "RunnerUp": "compression.choice",
    "compress": "compression.pipeline",
    "RatePoint": "compression.curve",
    "rate_distortion": "compression.curve",
    "Plan": "compression.plan",
    "plan": "compression.plan",
    "LoadReport": "torch",
    "load_into": "torch",
}


def __getattr__(name: str) -> Any:
    if name in ("fleet", "torch"):
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
