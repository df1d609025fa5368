"""The codec to compare with: ISO/IEC 15938-17 (neural network coding) by the package ``nncodec``.

DeepCABAC with dependent (trellis) quantization. It needs no data and makes one self-contained
stream, or an update of a network that the decoder has. Importing this module does not import the package.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import tempfile
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

INSTALL = "pip install -r experiments/requirements.txt"

NONWEIGHT_QP = -30
"""Step size of vectors (biases): 2^-7.5, fine enough for the accuracy of the classifiers here.

The package's own default, -75, spends some 18 bits on each of them.
"""


UPDATE_VECTOR_QP = -36
"""Step size of vectors in updates, whose values are smaller: 2^-9."""


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
    options = {"qp": qp, "nonweight_qp": NONWEIGHT_QP, "opt_qp": opt_qp, "use_dq": True}
    with _quietly() as quiet:
        return bytes(package.encode(_coded_all(arrays), options | quiet))


def encode_update(
    arrays: Mapping[str, Array],
    base: Mapping[str, Array],
    qp: int,
    *,
    opt_qp: bool = False,
    dependent: bool = True,
    vector_qp: int | None = None,
) -> bytes:
    """A stream that makes ``arrays`` from ``base``, which has the same names, shapes and float dtypes.

    The differences are coded as a differential update of a base network, as the package's federated learning does: tensors
    and rows that do not change take next to nothing. ``qp`` and ``opt_qp`` as for `encode`, now of
    differences; ``dependent`` quantization can be left out, and ``vector_qp`` is `UPDATE_VECTOR_QP` if not given. Raises
    ModuleNotFoundError and ValueError as `encode` does.
    """
    require()
    from nncodec import nnc

    differences = {
        name: np.asarray(array, np.float32) - base[name] for name, array in arrays.items()
    }
    # Without a history of updates there is nothing for the package's temporal contexts to look at.
    reference = {"parameters": {}, "put_node_depth": {}, "device_id": 0, "parameter_id": {}}
    with _quietly() as quiet:
        stream = nnc.compress(
            _coded_all(differences),
            bitstream_path=f"{quiet['results']}/update.nnc",
            qp=qp,
            nonweight_qp=UPDATE_VECTOR_QP if vector_qp is None else vector_qp,
            opt_qp=opt_qp,
            use_dq=dependent,
            row_skipping=True,
            compress_differences=True,
            approx_param_base=reference,
            return_bitstream=True,
        )
    return bytes(stream)


def decode_update(stream: bytes, base: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays float32 that `encode_update` made a stream of, with the same base; errors as for `require`."""
    differences = decode(stream)
    # Tensors that do not change are not in the stream.
    return {
        name: array + differences[name].reshape(array.shape) if name in differences else array
        for name, array in base.items()
    }


def decode(stream: bytes) -> dict[str, Array]:
    """The arrays float32 or int32 of a stream made by `encode`; errors as for `require`."""
    package = _package()
    with contextlib.redirect_stdout(io.StringIO()):
        return dict(package.decode(bytearray(stream), {**package.nncargs, "verbose": False}))


@contextlib.contextmanager
def _quietly() -> Iterator[dict[str, Any]]:
    """Options without words and files: the package talks on standard output and writes a file of its own."""
    with tempfile.TemporaryDirectory() as results, contextlib.redirect_stdout(io.StringIO()):
        yield {"verbose": False, "results": results}


def _package() -> ModuleType:
    require()
    from nncodec import nn

    package: ModuleType = nn
    return package


def _coded_all(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: _coded(name, array) for name, array in arrays.items()}


def _coded(name: str, array: Array) -> Array:
    """A copy in one of the two dtypes that the package takes."""
    if array.size == 0:
        raise ValueError(f"tensor '{name}' is empty, which nncodec cannot code")
    integral = array.dtype.kind in "biu"
    coded = np.atleast_1d(array).astype(np.int32 if integral else np.float32)
    if integral and not np.array_equal(coded, np.atleast_1d(array)):
        raise ValueError(f"tensor '{name}' holds integers beyond int32, which nncodec cannot code")
    return coded
