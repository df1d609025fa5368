"""Classification accuracy of a torch module."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

BATCH = 1000


@torch.inference_mode()
def predict(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Class int64 [N] of each image float32 [N, ...]; the model is left in evaluation mode."""
    model.eval()
    return torch.cat([model(batch).argmax(1) for batch in torch.split(images, BATCH)])


def percent_correct(predicted: torch.Tensor, labels: torch.Tensor) -> float:
    """Accuracy in percent of predictions int64 [N] against labels int64 [N]."""
    return 100.0 * int((predicted == labels).sum()) / len(labels)


def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Accuracy in percent of ``model`` on images float32 [N, ...] with labels int64 [N]."""
    return percent_correct(predict(model, images), labels)


def agreement(model: nn.Module, images: torch.Tensor) -> Callable[[nn.Module], float]:
    """How often, in percent, a module gives images float32 [N, ...] the class that ``model`` gives them now."""
    own = predict(model, images)
    return lambda module: percent_correct(predict(module, images), own)
