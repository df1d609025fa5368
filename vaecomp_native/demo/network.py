"""The network of the demonstration: the CNN of Cheng et al. 2024 (arXiv 2408.14513)."""

from __future__ import annotations

import torch
from torch import nn


class CNN(nn.Module):
    """Three convolutions (28x28x4, 14x14x8, 7x7x12) and two linear layers: 122,270 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, kernel_size=5, stride=1, padding=2)
        self.conv2 = nn.Conv2d(4, 8, kernel_size=5, stride=2, padding=2)
        self.conv3 = nn.Conv2d(8, 12, kernel_size=4, stride=2, padding=1)
        self.fc1 = nn.Linear(588, 200)
        self.fc2 = nn.Linear(200, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [N, 10] of images [N, 28, 28]."""
        x = images.unsqueeze(1)
        for convolution in (self.conv1, self.conv2, self.conv3):
            x = torch.relu(convolution(x))
        logits: torch.Tensor = self.fc2(torch.relu(self.fc1(x.flatten(1))))
        return logits
