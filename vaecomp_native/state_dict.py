"""One view of weights from every source: arrays, tensors, modules, archives and checkpoints.

Torch is used only when its tensors are given; its types are recognized without importing it.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.archive import Archive
from vaecomp_native.errors import WeightsError, listed
from vaecomp_native.io.checkpoints import KINDS, find_tensors, read_checkpoint
from vaecomp_native.io.checkpoints.base import Checkpoint
from vaecomp_native.io.checkpoints.nested import unwrap
from vaecomp_native.io.checkpoints.stored import Form, StoredTensors
from vaecomp_native.io.urls import is_url, plain
from vaecomp_native.opening import AnyArchive, open
from vaecomp_native.sharded import ShardedArchive, is_sharded
from vaecomp_native.tensors import EXTRA_STATE, is_tensor, tensor_to_array, why_not_plain

if TYPE_CHECKING:
    import torch

    Weights = Mapping[str, Any] | torch.nn.Module | str | os.PathLike[str]

Array = npt.NDArray[Any]
LATENT_DTYPES = frozenset({"float16", "bfloat16", "float32", "float64"})
"""The dtypes that lossy codecs accept. All other tensors must come back bit for bit."""
MAX_DIMENSIONS = 32
"""The largest number of dimensions of a tensor in an archive."""
ARCHIVE_MAGIC = b"\x89VAEC\r\n\x1a"


@dataclass(frozen=True)
class StateDict:
    """Named arrays in their order.

    Attributes:
        names: all names in their order, aliases included.
        arrays: the arrays by name.
        aliases: names of tied tensors, mapped to the names of the arrays whose data they share.
        metadata: text from the checkpoint.
        files: the files that were read.
        notes: sentences that say what reading chose, changed or left out.
    """

    names: tuple[str, ...]
    arrays: Mapping[str, Array]
    aliases: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def forms(self) -> Mapping[str, Form]:
        """What is known of each array without reading it."""
        return self.arrays.places if isinstance(self.arrays, StoredTensors) else self.arrays

    @property
    def parameters(self) -> int:
        """Elements of all tensors, aliases counted once."""
        return sum(form.size for form in self.forms.values())

    def only(self, names: Iterable[str]) -> StateDict:
        """The same with the named arrays alone, which are read now, and without aliases."""
        arrays = {name: self.arrays[name] for name in names}
        return replace(self, names=tuple(arrays), arrays=arrays, aliases={})


def read_state_dict(weights: Weights, key: str | None = None) -> StateDict:
    """Read weights of any supported kind.

    `weights` are a mapping from names to NumPy arrays or torch tensors, a torch module, an open
    archive, or the path of a checkpoint: a safetensors file, an index of shards, a model
    repository's directory, a PyTorch checkpoint, an .npz, .gguf or .vaec file. `key` chooses one of
    several state dicts in a checkpoint. Tied weights, tensors that share all their memory, become
    aliases. Raises WeightsError for anything else and names it, FileNotFoundError and OSError.
    """
    if isinstance(weights, (str, os.PathLike)):
        place = plain(weights)
        if is_url(place):
            raise WeightsError(
                f"{place}: is a URL; download the checkpoint first, and give its path"
            )
        path = Path(place)
        if _is_archive(path):
            with open(path) as archive:
                shards = archive.shards if isinstance(archive, ShardedArchive) else ()
                return _from_archive(archive, key, (path, *map(Path, shards)))
        return _from_checkpoint(path, key)
    if isinstance(weights, (Archive, ShardedArchive)):
        return _from_archive(weights, key)
    if isinstance(weights, Mapping):
        return _from_mapping(Checkpoint(dict(weights)), key)
    torch_module = sys.modules.get("torch")
    if torch_module is not None and isinstance(weights, torch_module.nn.Module):
        return _from_mapping(Checkpoint(weights.state_dict()), key)
    raise WeightsError(
        f"weights are a {type(weights).__name__}; give a mapping of names to arrays or tensors, "
        f"a torch module, or the path of {KINDS}"
    )


def find_state_dict(weights: Weights, key: str | None = None) -> StateDict | None:
    """The same of weights in safetensors files, whose arrays are read when they are asked for.

    None for weights of any other kind.
    """
    if not isinstance(weights, (str, os.PathLike)) or is_url(plain(weights)):
        return None
    path = Path(plain(weights))
    if is_sharded(path):
        return None
    found = find_tensors(path)
    if found is None:
        return None
    try:
        unwrap(found.tensors, key, lambda place: place.ndim > 0)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    arrays = StoredTensors(found.tensors)
    return StateDict(tuple(arrays), arrays, {}, found.metadata, found.files, found.notes)


def _is_archive(path: Path) -> bool:
    if is_sharded(path):
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(ARCHIVE_MAGIC)) == ARCHIVE_MAGIC


def _from_archive(archive: AnyArchive, key: str | None, files: tuple[Path, ...] = ()) -> StateDict:
    info = archive.info
    # Tied tensors share one array only if they are decoded together.
    return _from_mapping(Checkpoint(archive.decode(), info.metadata, files), key)


def _from_checkpoint(path: Path, key: str | None) -> StateDict:
    read = read_checkpoint(path)
    try:
        return _from_mapping(read, key, leave_out=True)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def _from_mapping(read: Checkpoint, key: str | None, *, leave_out: bool = False) -> StateDict:
    """Make a state dict of a mapping.

    With `leave_out`, values that are not tensors are left out, and a note says so. Otherwise they
    are an error.
    """
    tensors, notes = unwrap(read.tensors, key, _has_dimensions)
    left_out: list[str] = []
    arrays: dict[str, Array] = {}
    aliases: dict[str, str] = {}
    owners: dict[tuple[object, ...], str] = {}
    for name, value in tensors.items():
        _check_name(name)
        if name.endswith(EXTRA_STATE) and not is_array(value):
            warnings.warn(f"'{name}' is not a tensor and is left out", stacklevel=4)
            left_out.append(name)
            continue
        if leave_out and not is_array(value):
            left_out.append(name)
            continue
        memory = _memory_of(value)
        owner = owners.setdefault(memory, name) if memory else name
        if owner == name:
            arrays[name] = _as_array(name, value)
        else:
            aliases[name] = owner
    if left_out:
        notes = [*notes, f"left out what is not a tensor: {listed(left_out)}"]
    return StateDict(
        tuple(name for name in tensors if name in arrays or name in aliases),
        arrays,
        aliases,
        read.metadata,
        read.files,
        (*read.notes, *notes),
    )


def is_array(value: Any) -> bool:
    """Whether a value is a tensor or an array; a list of numbers, for example, is neither."""
    return is_tensor(value) or isinstance(value, (np.ndarray, np.generic))


def _has_dimensions(value: Any) -> bool:
    return is_array(value) and (not _is_plain(value) or value.ndim > 0)


def _is_plain(value: Any) -> bool:
    return not is_tensor(value) or why_not_plain(value) is None


def _check_name(name: Any) -> None:
    if not isinstance(name, str):
        raise WeightsError(f"tensor names must be strings, not {name!r}")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise WeightsError(f"tensor name {name!a} is not Unicode text; rename it") from None


def _memory_of(value: Any) -> tuple[object, ...] | None:
    """Return the key that two names must have in common to be tied; None for a value never tied.

    The key is made of device, address, shape, strides and dtype. A torch tensor's key also says
    whether it is a conjugated or negated view.
    """
    if is_tensor(value):
        if not _is_plain(value) or value.numel() == 0:
            return None
        lazy = value.is_conj(), value.is_neg()
        return value.device, value.data_ptr(), value.shape, value.stride(), value.dtype, lazy
    if isinstance(value, np.ndarray) and value.size > 0:
        address = value.__array_interface__["data"][0]
        return "host", address, value.shape, value.strides, value.dtype
    return None


def _as_array(name: str, value: Any) -> Array:
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise WeightsError(
            f"tensor '{name}' is masked; fill it with .filled(value), or leave it out"
        )
    try:
        array: Array = tensor_to_array(value) if is_tensor(value) else np.asarray(value)
        _core.dtype_name(array.dtype)
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise WeightsError(f"tensor '{name}' {_problem(value, error)}") from error
    if array.ndim > MAX_DIMENSIONS:
        raise WeightsError(
            f"tensor '{name}' has {array.ndim} dimensions, more than {MAX_DIMENSIONS}; reshape it"
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _problem(value: Any, error: Exception) -> str:
    """Say why an archive cannot hold a value, and what to do."""
    if is_tensor(value):
        return str(error)
    kind = type(value).__name__
    if isinstance(value, np.ndarray):
        return f"has dtype {value.dtype}, which archives cannot hold; convert it, or leave it out"
    return f"is of type {kind}, not a tensor; convert it, or leave it out"
