"""Checkpoints of every kind that people have, by what their first bytes are, not by their names."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
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
"""How files begin that are taken for checkpoints, and what they are."""


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the checkpoint at a path: a file of any kind, an index of shards, or a model repository's directory.

    Arrays of safetensors and PyTorch files lie in the mapped file. Raises FileNotFoundError, WeightsError for anything that
    is no checkpoint, ModuleNotFoundError if its kind needs a package that is not installed, and OSError.
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


def _reader_of(path: Path) -> Callable[[Path], Checkpoint]:
    with path.open("rb") as file:
        start = file.read(_START)
    if start.startswith(_GGUF):
        return gguf.read
    if start.startswith(_ZIP):
        return _reader_of_zip(path)
    # Before pickles, whose first byte a header's size may have.
    if safetensors.is_start(start):
        return safetensors.read
    if start.startswith(_PICKLE):
        return pickled.read
    what = next((what for begin, what in _UNREADABLE.items() if start.startswith(begin)), None)
    if not start:
        what = "empty"
    raise WeightsError(
        f"{path}: is {what}" if what else f"{path}: is no checkpoint that can be read; give {KINDS}"
    )


def _reader_of_zip(path: Path) -> Callable[[Path], Checkpoint]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except zipfile.BadZipFile as error:
        raise WeightsError(f"{path}: is a damaged or unfinished file: {error}") from error
    if any(name.endswith("/constants.pkl") for name in members):
        raise WeightsError(
            f"{path}: is a TorchScript program; load it with torch.jit.load and give its state_dict()"
        )
    if any(name.endswith("/data.pkl") for name in members):
        return pickled.read
    if members and all(name.endswith(".npy") for name in members):
        return npz.read
    raise WeightsError(f"{path}: is a zip file without a checkpoint in it; give {KINDS}")


def _missing(path: Path) -> str:
    """What may be meant by a path that does not exist."""
    text = str(path)
    is_hub_name = not path.is_absolute() and len(path.parts) == 2 and not path.suffix
    if is_hub_name and not path.parent.exists():
        return (
            f"{text}: no such file or directory; if it is a model's name on a hub, download the model "
            "first and give its directory"
        )
    if not path.parent.exists():
        return f"{text}: the directory {path.parent} does not exist; check the path"
    return f"{text}: no such file; check the path"
