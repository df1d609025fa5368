"""The codec to compare with: ISO/IEC 15938-17 (neural network coding) by the package ``nncodec``.

DeepCABAC with dependent (trellis) quantisation. It needs no data and makes one self-contained
stream. The package comes with the ``bench`` extra; importing this module does not import it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import tempfile
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

INSTALL = 'pip install "vaecomp_native[baselines]"'

NONWEIGHT_QP = -30
"""Step size of vectors (biases): 2^-7.5, fine enough for the accuracy of the classifiers here.

The package's own default, -75, spends some 18 bits on each of them.
"""


def installed() -> bool:
    """Whether the package is there."""
    return importlib.util.find_spec("nncodec") is not None


def require() -> None:
    """Raise ModuleNotFoundError, with the line that installs it, if the package is missing."""
    if not installed():
        raise ModuleNotFoundError(f"this needs nncodec: {INSTALL}", name="nncodec")


def version() -> str:
    """The installed package's version."""
    from importlib import metadata

    return metadata.version("nncodec")


def encode(arrays: Mapping[str, Array], qp: int, *, opt_qp: bool = False) -> bytes:
    """One stream with all arrays and their names.

    ``qp`` sets the step size of matrices, a factor of 2^(1/4) each, larger is coarser; sensible
    values are -38 to -10. With ``opt_qp`` the package varies it from matrix to matrix by size and
    spread. Floats are coded as float32, integers and booleans as int32, scalars as one element.
    Raises ModuleNotFoundError as `require` does, and ValueError for an
    empty array and for integers beyond int32.
    """
    package = _package()
    arguments = {name: _coded(name, array) for name, array in arrays.items()}
    # The package writes its stream to a file of its own as well, and talks on standard output.
    with tempfile.TemporaryDirectory() as results, contextlib.redirect_stdout(io.StringIO()):
        options = {
            "qp": qp,
            "nonweight_qp": NONWEIGHT_QP,
            "opt_qp": opt_qp,
            "use_dq": True,
            "verbose": False,
            "results": results,
        }
        return bytes(package.encode(arguments, options))


def decode(stream: bytes) -> dict[str, Array]:
    """The arrays float32 or int32 of a stream made by `encode`; errors as for `require`."""
    package = _package()
    with contextlib.redirect_stdout(io.StringIO()):
        return dict(package.decode(bytearray(stream), {**package.nncargs, "verbose": False}))


def _package() -> ModuleType:
    require()
    from nncodec import nn

    package: ModuleType = nn
    return package


def _coded(name: str, array: Array) -> Array:
    """A copy in one of the two dtypes that the package takes."""
    if array.size == 0:
        raise ValueError(f"tensor '{name}' is empty, which nncodec cannot code")
    integral = array.dtype.kind in "biu"
    coded = np.atleast_1d(array).astype(np.int32 if integral else np.float32)
    if integral and not np.array_equal(coded, np.atleast_1d(array)):
        raise ValueError(f"tensor '{name}' holds integers beyond int32, which nncodec cannot code")
    return coded
