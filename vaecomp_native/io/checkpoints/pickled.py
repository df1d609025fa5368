"""PyTorch checkpoints, loaded without running any code that they hold."""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from vaecomp_native.errors import WeightsError, in_one_line
from vaecomp_native.io.checkpoints.base import Checkpoint

SAFE_TORCH = (2, 6)
"""The first version of PyTorch in which `weights_only` is safe (CVE-2025-32434)."""


def read(path: Path) -> Checkpoint:
    """Read a file that torch.save wrote.

    Tensors lie in the mapped file where its form allows it. Raises WeightsError if the file holds
    code or is not a mapping, ModuleNotFoundError without PyTorch, and OSError.
    """
    try:
        import torch
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"{path} is a PyTorch checkpoint, which PyTorch reads; pip install torch", name="torch"
        ) from None
    if tuple(map(int, torch.__version__.split(".")[:2])) < SAFE_TORCH:
        raise WeightsError(
            f"{path}: PyTorch {torch.__version__} can run code that such a file holds; "
            f"update it to {'.'.join(map(str, SAFE_TORCH))}"
        )
    try:
        # Torch warns of its own checks and experiments, which do not concern the file.
        with torch.serialization.safe_globals(_harmless()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = _load(path, torch)
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{path}: {_why_refused(error)}") from error
    except OSError:
        raise
    except Exception as error:  # torch has no error type of its own for a damaged file
        raise WeightsError(f"{path}: not an intact PyTorch checkpoint: {in_one_line(error)}") from error
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"{path}: holds a {type(content).__name__}, not a state dict; save "
            "module.state_dict() with torch.save"
        )
    return Checkpoint(content, files=(path,))


def _load(path: Path, torch: Any) -> Any:
    options = {"map_location": "cpu", "weights_only": True}
    # Torch maps only files whose names are UTF-8. It takes some suffixes for other kinds.
    if zipfile.is_zipfile(path) and _is_utf8(path) and path.suffix != ".safetensors":
        return torch.load(str(path), mmap=True, **options)
    with path.open("rb") as file:
        return torch.load(file, **options)


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _harmless() -> list[Any]:
    """List types that training scripts store beside tensors and that only hold plain data."""
    import numpy as np

    multiarray = import_module(f"numpy.{'_core' if hasattr(np, '_core') else 'core'}.multiarray")
    dtypes = [
        type(np.dtype(code))
        for code in (*np.typecodes["AllInteger"], *np.typecodes["Float"], "?", "U")
    ]
    return [
        argparse.Namespace,
        np.dtype,
        np.ndarray,
        multiarray.scalar,
        multiarray._reconstruct,
        (multiarray.scalar, "numpy.core.multiarray.scalar"),
        (multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
        *dict.fromkeys(dtypes),
    ]


def _why_refused(error: pickle.UnpicklingError) -> str:
    found = re.search(
        r"GLOBAL (\S+)|Unsupported (?:global|class|operand)[^\n]*?(\S+\.\S+)", str(error)
    )
    what = f" ({found[1] or found[2]})" if found else ""
    return (
        f"holds Python objects besides tensors{what}, and loading them could run any code; "
        "load it where you trust it, and save module.state_dict() alone"
    )
