"""MNIST classifiers: the four of Cheng et al. 2024 (arXiv 2408.14513), Table 1, and LeNet-5.

Each takes images float32 [N, 28, 28] and gives logits float32 [N, 10]. The paper prints the
parameter counts; these layer widths meet all four of them exactly. LeNet-5 is the network on which
most papers on weight compression report their ratios.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn

from vaecomp_native.demo.network import CNN

PARAMETERS: dict[str, int] = {"fnn": 185_300, "cnn": 122_270, "rnn": 54_538, "lstm": 214_282}
"""The paper's networks and their numbers of parameters, in the order of its Table 1."""

LENET5_PARAMETERS = 431_080

NETWORKS: tuple[str, ...] = (*PARAMETERS, "lenet5")
"""Everything that `build` knows."""

LAYERS: dict[str, str] = {
    "fnn": "784-200-100-60-30-10, ReLU",
    "cnn": "conv 5x5x4, conv 5x5x8 /2, conv 4x4x12 /2, fc 588-200-10, ReLU",
    "rnn": "28 rows, 2 layers of 128 (tanh), fc 10",
    "lstm": "28 rows, 2 LSTM layers of 128, fc 10",
    "lenet5": "conv 5x5x20, max-pool 2, conv 5x5x50, max-pool 2, fc 800-500-10, ReLU",
}
"""Each network in one line, for reports."""


class FNN(nn.Module):
    """Fully connected 784-200-100-60-30-10 with ReLU: 185,300 parameters."""

    def __init__(self) -> None:
        super().__init__()
        widths = (784, 200, 100, 60, 30, 10)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [N, 10] of images [N, 28, 28]."""
        x = images.flatten(1)
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        logits: torch.Tensor = self.layers[-1](x)
        return logits


class Recurrent(nn.Module):
    """An image read as 28 rows by two recurrent layers of 128, then a linear layer to 10 classes.

    54,538 parameters with ``nn.RNN`` cells, 214,282 with ``nn.LSTM``.
    """

    def __init__(self, cell: type[nn.RNN] | type[nn.LSTM]) -> None:
        super().__init__()
        self.recurrent = cell(28, 128, num_layers=2, batch_first=True)
        self.fc = nn.Linear(128, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [N, 10] of images [N, 28, 28]."""
        states, _ = self.recurrent(images)
        logits: torch.Tensor = self.fc(states[:, -1])
        return logits


class LeNet5(nn.Module):
    """The LeNet-5 of Caffe, as in papers on compression (Han et al. 2015): 431,080 parameters.

    Convolutions 5x5x20 and 5x5x50, each followed by max-pooling over 2x2 and no other
    non-linearity, then 800-500-10 with ReLU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, kernel_size=5)
        self.conv2 = nn.Conv2d(20, 50, kernel_size=5)
        self.fc1 = nn.Linear(800, 500)
        self.fc2 = nn.Linear(500, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [N, 10] of images [N, 28, 28]."""
        x = images.unsqueeze(1)
        for convolution in (self.conv1, self.conv2):
            x = nn.functional.max_pool2d(convolution(x), 2)
        logits: torch.Tensor = self.fc2(torch.relu(self.fc1(x.flatten(1))))
        return logits


_BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "fnn": FNN,
    "cnn": CNN,
    "rnn": lambda: Recurrent(nn.RNN),
    "lstm": lambda: Recurrent(nn.LSTM),
    "lenet5": LeNet5,
}


def build(name: str) -> nn.Module:
    """A new, untrained network, ``name`` one of `NETWORKS`.

    The initial weights come from torch's global generator. Raises ``ValueError`` for another name.
    """
    if name not in _BUILDERS:
        raise ValueError(f"unknown network {name!r}: choose from {', '.join(NETWORKS)}")
    return _BUILDERS[name]()
