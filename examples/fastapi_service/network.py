"""A fully connected network with ReLU, in NumPy, whose weights come from an archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

import vaecomp_native as vc

PIXELS, DIGITS = 28 * 28, 10
# Mean and standard deviation of the pixels, from 0 to 1, of MNIST's training images.
MEAN, DEVIATION = np.float32(0.1307), np.float32(0.3081)

Array = npt.NDArray[np.float32]


class Network:
    """A network that takes 784 pixels and gives the probabilities of 10 digits."""

    def __init__(self, path: Path) -> None:
        """Decode "layers.0.weight", "layers.0.bias", "layers.1.weight" and so on.

        Raises vaecomp_native.ArchiveError for a damaged archive, ValueError for an archive of
        another network, and OSError.
        """
        tensors = vc.decode(path)
        count = len(tensors) // 2
        names = {f"layers.{i}.{part}" for i in range(count) for part in ("weight", "bias")}
        if not names or tensors.keys() != names:
            raise ValueError("not the README's network: its tensors have other names")
        self.layers = [
            (tensors[f"layers.{i}.weight"], tensors[f"layers.{i}.bias"]) for i in range(count)
        ]
        width = PIXELS
        for i, (weight, bias) in enumerate(self.layers):
            if weight.shape != (bias.size, width) or weight.dtype != np.float32:
                raise ValueError(f"not the README's network: the shapes of layers.{i} do not fit")
            width = bias.size
        if width != DIGITS:
            raise ValueError(f"not the README's network: it ends with {width} numbers, not 10")

    def predict(self, pixels: Array) -> Array:
        """Compute the probabilities of the digits, [10], from pixels [784], 0 to 255."""
        values = (pixels / np.float32(255) - MEAN) / DEVIATION
        for i, (weight, bias) in enumerate(self.layers):
            values = weight @ (np.maximum(values, 0) if i > 0 else values) + bias
        scores = np.exp(values - values.max())
        return scores / scores.sum()
