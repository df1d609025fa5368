"""GGUF files, the format of llama.cpp. Tensors that are quantized in blocks become floats."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.errors import WeightsError, in_one_line, listed
from vaecomp_native.io.checkpoints.base import Checkpoint

Array = npt.NDArray[Any]
PREFIX = "gguf."
"""The prefix of the metadata's keys."""
PLAIN = ("F64", "F32", "F16", "BF16", "I8", "I16", "I32", "I64")
"""The types of tensors that are not quantized in blocks."""
LONGEST_LIST = 64
"""The longest list that becomes metadata. Longer lists belong to a tokenizer."""


def read(path: Path) -> Checkpoint:
    """Read a GGUF file.

    Plain tensors stay as they are. Blocks are dequantized to float32, and the notes say so. The
    file's fields become metadata; lists of a tokenizer are left out. Raises WeightsError for a
    damaged file or a type that the `gguf` package cannot dequantize, ModuleNotFoundError without
    the package, and OSError.
    """
    try:
        import gguf
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"{path} is a GGUF file; install what reads it: pip install 'vaecomp_native[gguf]'",
            name="gguf",
        ) from None
    try:
        reader = gguf.GGUFReader(path)
        dequantized = Counter(
            one.tensor_type.name for one in reader.tensors if one.tensor_type.name not in PLAIN
        )
        arrays = {one.name: _values(gguf, one) for one in reader.tensors}
        metadata, left_out = _metadata(reader)
    except OSError:
        raise
    except Exception as error:
        raise WeightsError(
            f"{path}: not a GGUF file that can be read: {in_one_line(error)}"
        ) from error
    notes = []
    if dequantized:
        counts = ", ".join(f"{count} x {kind}" for kind, count in sorted(dequantized.items()))
        notes.append(f"dequantized tensors to float32: {counts}")
    if left_out:
        notes.append(f"left out lists of the file's fields: {listed(left_out)}")
    return Checkpoint(arrays, metadata, (path,), tuple(notes))


def _values(gguf: Any, tensor: Any) -> Array:
    shape = [int(length) for length in reversed(tensor.shape)]
    kind = tensor.tensor_type.name
    if kind == "BF16":
        return np.asarray(tensor.data).view(_core.numpy_dtype("bfloat16")).reshape(shape)
    if kind in PLAIN:
        return np.asarray(tensor.data).reshape(shape)
    return np.asarray(gguf.dequantize(tensor.data, tensor.tensor_type), np.float32).reshape(shape)


def _metadata(reader: Any) -> tuple[dict[str, str], list[str]]:
    """Return the file's fields as text, and the names of lists that are too long."""
    metadata: dict[str, str] = {}
    left_out: list[str] = []
    for name, field in reader.fields.items():
        if name.startswith("GGUF."):
            continue  # counts of the file itself
        value = field.contents()
        if isinstance(value, list) and len(value) > LONGEST_LIST:
            left_out.append(name)
        else:
            metadata[PREFIX + name] = value if isinstance(value, str) else json.dumps(value)
    return metadata, left_out
