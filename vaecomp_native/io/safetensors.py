"""Decoded tensors into safetensors files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.errors import VaecompError
from vaecomp_native.io.sinks import replacing


def save_safetensors(
    tensors: Mapping[str, npt.NDArray[Any]],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str],
) -> None:
    """Write `tensors` and `metadata` as the safetensors file `path`, atomically.

    Raises VaecompError for a dtype that safetensors files cannot hold, and OSError.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    contiguous = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    try:
        with replacing(path) as temporary:
            save_file(contiguous, temporary, metadata=dict(metadata) or None)
    except SafetensorError as error:
        # complex128, for example: an archive holds more kinds of numbers than safetensors does.
        raise VaecompError(
            f"{path}: safetensors cannot hold these tensors ({error}); "
            "leave them out with --tensor or use vaecomp_native.decode"
        ) from error
