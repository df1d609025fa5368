"""Checkpoints of every common kind. The first bytes of a file tell its kind, not its name."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vaecomp_native.errors import WeightsError
from vaecomp_native.io.checkpoints import gguf, npz, pickled, safetensors
from vaecomp_native.io.checkpoints.base import Checkpoint
from vaecomp_native.io.checkpoints.directory import INDEX_SUFFIX, model_in
from vaecomp_native.io.checkpoints.shards import read_shards

KINDS = (
    "a safetensors file or its index, a PyTorch checkpoint (.pt, .pth, .bin, .ckpt), .npz, .gguf "
    "or .vaec"
)
_START = 64
_ZIP, _GGUF, _PICKLE = b"PK\x03\x04", b"GGUF", b"\x80"
_UNREADABLE = {
    b"version https://git-lfs": "a Git LFS pointer, not the weights; run `git lfs pull`",
    b"\x89HDF": "an HDF5 file (Keras, for example)",
    b"\x93NUMPY": "one array without a name; save it with numpy.savez",
    b"\x1f\x8b": "compressed by gzip; unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; unpack it first",
    b"<": "a text, a web page perhaps; download the file itself",
}
"""The first bytes of files that are mistaken for checkpoints, and what these files are."""


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the checkpoint at a path.

    The path is a file of any kind, an index of shards, or a model repository's directory. Arrays of
    safetensors and PyTorch files lie in the mapped file. Raises FileNotFoundError, WeightsError for
    anything that is not a checkpoint, ModuleNotFoundError if its kind needs a package that is not
    installed, and OSError.
    """
    if path.is_dir():
        found, notes = model_in(path)
        read = read_checkpoint(found)
        return Checkpoint(read.tensors, read.metadata, read.files, (*notes, *read.notes))
    if not path.exists():
        raise FileNotFoundError(_missing(path))
    if path.name.endswith(INDEX_SUFFIX):
        return read_shards(path, read_checkpoint)
    return _reader_of(path)(path)


def find_tensors(path: Path) -> Checkpoint | None:
    """Find the places of the tensors of a checkpoint, whose files may be larger than the memory.

    The path is as for `read_checkpoint`. Values of the result's `tensors` are `Place` objects. The
    result is None for a checkpoint that is not made of safetensors files alone. Raises the errors
    of `read_checkpoint`.
    """
    if path.is_dir():
        found, notes = model_in(path)
        places = find_tensors(found)
        return places and replace(places, notes=(*notes, *places.notes))
    if not path.is_file():
        return None
    try:
        if path.name.endswith(INDEX_SUFFIX):
            return read_shards(path, _find_in)
        return _find_in(path)
    except _OtherKindError:
        return None


class _OtherKindError(Exception):
    """A file is not of the kind of safetensors."""


def _find_in(path: Path) -> Checkpoint:
    with path.open("rb") as file:
        if not safetensors.is_start(file.read(_START)):
            raise _OtherKindError
    return safetensors.find(path)


def _reader_of(path: Path) -> Callable[[Path], Checkpoint]:
    with path.open("rb") as file:
        start = file.read(_START)
    if start.startswith(_GGUF):
        return gguf.read
    if start.startswith(_ZIP):
        return _reader_of_zip(path)
    # This comes before pickles, because a header's size may begin with a pickle's first byte.
    if safetensors.is_start(start):
        return safetensors.read
    if start.startswith(_PICKLE):
        return pickled.read
    what = next((what for begin, what in _UNREADABLE.items() if start.startswith(begin)), None)
    if not start:
        what = "empty"
    known = what or f"not a checkpoint that can be read; give {KINDS}"
    raise WeightsError(f"{path}: is {known}")


def _reader_of_zip(path: Path) -> Callable[[Path], Checkpoint]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except zipfile.BadZipFile as error:
        raise WeightsError(f"{path}: is a damaged or unfinished file: {error}") from error
    if any(name.endswith("/constants.pkl") for name in members):
        raise WeightsError(
            f"{path}: is a TorchScript program; "
            "load it with torch.jit.load and give its state_dict()"
        )
    if any(name.endswith("/data.pkl") for name in members):
        return pickled.read
    if members and all(name.endswith(".npy") for name in members):
        return npz.read
    raise WeightsError(f"{path}: is a zip file without a checkpoint in it; give {KINDS}")


def _missing(path: Path) -> str:
    """Say what a path that does not exist may mean, and what to do."""
    text = str(path)
    is_hub_name = not path.is_absolute() and len(path.parts) == 2 and not path.suffix
    if is_hub_name and not path.parent.exists():
        return (
            f"{text}: no such file or directory; if it is a model's name on a hub, "
            "download the model first and give its directory"
        )
    if not path.parent.exists():
        return f"{text}: the directory {path.parent} does not exist; check the path"
    return f"{text}: no such file; check the path"
