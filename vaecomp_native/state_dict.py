"""One view of weights, wherever they come from: arrays, tensors, modules, safetensors files.

Torch and safetensors are touched only when such weights are given; torch's types are recognised without importing it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.errors import WeightsError

if TYPE_CHECKING:
    import torch

    Weights = Mapping[str, Any] | torch.nn.Module | str | os.PathLike[str]

Array = npt.NDArray[Any]
INDEX_SUFFIX = ".safetensors.index.json"
LATENT_DTYPES = frozenset({"float16", "bfloat16", "float32", "float64"})
"""Dtypes that lossy codecs take on; everything else must come back as it is."""


@dataclass(frozen=True)
class StateDict:
    """Named arrays in their order. A name in `aliases` shares the data of the tensor it maps to."""

    names: tuple[str, ...]
    arrays: Mapping[str, Array]
    aliases: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Elements of all tensors, aliases counted once."""
        return sum(array.size for array in self.arrays.values())


def read_state_dict(weights: Weights) -> StateDict:
    """Read weights of any supported kind.

    A mapping from names to NumPy arrays or torch tensors, a torch module, or the path of a `.safetensors` file, of a
    `*.safetensors.index.json` of shards, or of a directory that holds one of them. Tensors that share all their
    memory (tied weights) become aliases. Raises WeightsError for anything else, naming it.
    """
    if isinstance(weights, (str, os.PathLike)):
        return _from_path(Path(weights))
    if isinstance(weights, Mapping):
        return _from_mapping(weights)
    torch_module = sys.modules.get("torch")
    if torch_module is not None and isinstance(weights, torch_module.nn.Module):
        return _from_mapping(weights.state_dict())
    raise WeightsError(
        f"weights are a {type(weights).__name__}; give a mapping of names to arrays or tensors, "
        "a torch module or the path of a safetensors file"
    )


def check_finite(state: StateDict) -> None:
    """Raise WeightsError, naming the tensor, if a float tensor holds a NaN or an infinity."""
    for name, array in state.arrays.items():
        if _core.dtype_name(array.dtype) in LATENT_DTYPES and not np.isfinite(array).all():
            raise WeightsError(
                f"tensor '{name}' holds NaN or infinite values; repair it, or leave it out"
            )


def is_delicate(array: Array) -> bool:
    """Whether a tensor is too small to gain from a lossy codec, or would suffer from any error."""
    return delicacy(array) is not None


def delicacy(array: Array) -> str | None:
    """What makes a tensor delicate, if something does.

    Scalars and empty tensors; and vectors of one sign or one value: gains and variances of normalisation layers, which must
    not change their sign, and zeros.
    """
    if array.size <= 1:
        return "empty" if array.size == 0 else "one value"
    if array.ndim != 1:
        return None
    low, high = array.min(), array.max()
    if low == high:
        return "one value"
    return "one sign" if low > 0 or high < 0 else None


def _from_mapping(mapping: Mapping[str, Any]) -> StateDict:
    arrays: dict[str, Array] = {}
    aliases: dict[str, str] = {}
    owners: dict[tuple[object, ...], str] = {}
    for name, value in mapping.items():
        if not isinstance(name, str):
            raise WeightsError(f"tensor names must be strings, not {name!r}")
        memory = _memory_of(value)
        owner = owners.setdefault(memory, name) if memory else name
        if owner == name:
            arrays[name] = _as_array(name, value)
        else:
            aliases[name] = owner
    return StateDict(tuple(mapping), arrays, aliases)


def _memory_of(value: Any) -> tuple[object, ...] | None:
    """What two names must have in common to be tied: device, address, shape, strides and dtype."""
    if _is_tensor(value) and value.layout == sys.modules["torch"].strided and value.numel() > 0:
        return value.device, value.data_ptr(), value.shape, value.stride(), value.dtype
    if isinstance(value, np.ndarray) and value.size > 0:
        address = value.__array_interface__["data"][0]
        return "host", address, value.shape, value.strides, value.dtype
    return None


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _as_array(name: str, value: Any) -> Array:
    try:
        array: Array = tensor_to_array(value) if _is_tensor(value) else np.asarray(value)
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise WeightsError(f"tensor '{name}' cannot be read as an array: {error}") from error
    try:
        _core.dtype_name(array.dtype)
    except ValueError:
        raise WeightsError(
            f"tensor '{name}' is a {type(value).__name__} of dtype {array.dtype}, which archives "
            "cannot hold; convert it, or leave it out"
        ) from None
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def tensor_to_array(tensor: torch.Tensor) -> Array:
    """A torch tensor's values as an array, without a copy where it lies in host memory."""
    tensor = tensor.detach().cpu()
    name = str(tensor.dtype).removeprefix("torch.")
    unsigned = {"bfloat16": "uint16", "float8_e4m3fn": "uint8", "float8_e5m2": "uint8"}.get(name)
    if unsigned is None:
        return tensor.numpy()
    # NumPy has no such dtype of its own: pass the bits and name them.
    import ml_dtypes
    import torch

    bits = tensor.view(getattr(torch, unsigned)).numpy()
    return bits.view(np.dtype(getattr(ml_dtypes, name)))


def array_to_tensor(array: Array) -> torch.Tensor:
    """An array of any archive dtype as a torch tensor that shares its memory."""
    import torch

    name = array.dtype.name
    unsigned = {"bfloat16": np.uint16, "float8_e4m3fn": np.uint8, "float8_e5m2": np.uint8}.get(name)
    if unsigned is None:
        return torch.from_numpy(array)
    tensor: torch.Tensor = torch.from_numpy(array.view(unsigned)).view(getattr(torch, name))
    return tensor


def _from_path(path: Path) -> StateDict:
    if path.is_dir():
        path = _file_in(path)
    if path.name.endswith(INDEX_SUFFIX):
        return _from_shards(path)
    if path.suffix != ".safetensors":
        raise WeightsError(
            f"{path}: not a .safetensors file or *{INDEX_SUFFIX}; convert the weights first, "
            "for example with safetensors.torch.save_file"
        )
    arrays: dict[str, Array] = {}
    metadata = _read_file(path, arrays)
    return StateDict(tuple(arrays), arrays, {}, metadata)


def _file_in(directory: Path) -> Path:
    found = sorted(directory.glob(f"*{INDEX_SUFFIX}")) or sorted(directory.glob("*.safetensors"))
    if len(found) != 1:
        raise WeightsError(
            f"{directory}: holds {len(found)} safetensors models; name the file to compress"
        )
    return found[0]


def _from_shards(index: Path) -> StateDict:
    try:
        weight_map: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        shards = sorted(set(weight_map.values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{index}: no safetensors index with a weight_map") from error
    arrays: dict[str, Array] = {}
    for shard in shards:
        if Path(shard).name != shard:
            raise WeightsError(f"{index}: shard '{shard}' must lie beside the index")
        _read_file(index.parent / shard, arrays)
    missing = [name for name in weight_map if name not in arrays]
    if missing:
        raise WeightsError(f"{index}: no shard holds tensor '{missing[0]}'")
    return StateDict(tuple(weight_map), {name: arrays[name] for name in weight_map})


def _read_file(path: Path, arrays: dict[str, Array]) -> dict[str, str]:
    """Add a safetensors file's tensors to `arrays`; returns its metadata."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118  (safe_open is no mapping)
                arrays[name] = file.get_tensor(name)
            return file.metadata() or {}
    except SafetensorError as error:
        raise WeightsError(f"{path}: {error}") from error
