"""Compress the weights of neural networks into latent archives, and decode them bit for bit.

>>> import vaecomp_native as vc
>>> report = vc.compress(module, "model.vaec")
>>> weights = vc.decode("model.vaec")

Importing this package imports NumPy and nothing else; torch is imported when `compress` trains.
"""

from __future__ import annotations

from vaecomp_native._core import __version__, format_version
from vaecomp_native.archive import Archive, ArchiveInfo, TensorInfo, decode, open, verify
from vaecomp_native.compression import CompressionReport, compress
from vaecomp_native.errors import (
    ArchiveError,
    ModuleMismatchError,
    TrainingError,
    UnsupportedVersionError,
    VaecompError,
    WeightsError,
)
from vaecomp_native.loading import load_into

__all__ = [
    "Archive",
    "ArchiveError",
    "ArchiveInfo",
    "CompressionReport",
    "ModuleMismatchError",
    "TensorInfo",
    "TrainingError",
    "UnsupportedVersionError",
    "VaecompError",
    "WeightsError",
    "__version__",
    "compress",
    "decode",
    "format_version",
    "load_into",
    "open",
    "verify",
]
