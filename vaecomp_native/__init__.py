"""Compress the weights of neural networks into latent archives, and decode them bit for bit.

>>> import vaecomp_native as vc
>>> report = vc.compress(module, "model.vaec")
>>> weights = vc.decode("model.vaec")

Importing this package imports NumPy and nothing else; torch is imported when `compress` trains.
"""

from __future__ import annotations

try:
    from vaecomp_native._core import __version__, format_version
except ImportError as error:
    raise ImportError(
        f"the compiled module cannot be loaded from {__path__[0]} ({error}); in a source checkout, "
        "run `pip install .` and start Python in another directory"
    ) from error
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
