"""NumPy's .npz files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vaecomp_native.errors import WeightsError
from vaecomp_native.io.checkpoints.base import Checkpoint


def read(path: Path) -> Checkpoint:
    """Read the arrays of an .npz file.

    Raises WeightsError for a damaged file or one that holds Python objects, and OSError.
    """
    arrays: dict[str, Any] = {}
    name = ""
    try:
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                arrays[name] = file[name]
    except OSError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy have errors of their own
        where = f"array '{name}'" if name else "the file"
        raise WeightsError(f"{path}: {where} cannot be read: {error}") from error
    return Checkpoint(arrays, files=(path,))
