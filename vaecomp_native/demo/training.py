"""Seeded training of a classifier of digits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from vaecomp_native.demo.accuracy import accuracy
from vaecomp_native.demo.digits import Digits, MnistData
from vaecomp_native.progress import Progress, silent

LEARNING_RATE = 1e-3
BATCH = 128
GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class EpochRecord:
    """One epoch: mean training loss (nats) and accuracy on the validation digits in percent."""

    epoch: int
    loss: float
    validation_accuracy: float


@dataclass(frozen=True)
class TrainedClassifier:
    """A trained network in evaluation mode, its curve, and the seconds the training took."""

    model: nn.Module
    curve: tuple[EpochRecord, ...]
    seconds: float


def batches_of_epoch(data: MnistData) -> int:
    """How many batches `train_classifier` takes from the training digits in an epoch."""
    return max(1, len(data.train) // BATCH)


def train_classifier(
    build: Callable[[], nn.Module],
    data: MnistData,
    *,
    epochs: int,
    seed: int = 0,
    stage: str = "training",
    progress: Progress = silent,
    after_step: Callable[[int, nn.Module], None] = lambda step, model: None,
) -> TrainedClassifier:
    """Train the network that ``build`` makes with Adam, a cosine schedule and gradient clipping, on the CPU.

    The same seed and number of threads give the same weights; torch's global generator is left
    as it was. ``progress`` is called after every batch with the ``stage`` and the loss, ``after_step`` with the number of batches so far and the
    model, which it leaves alone.
    """
    start = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build()
    shuffles = torch.Generator().manual_seed(seed)
    batches = batches_of_epoch(data)
    total = epochs * batches
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    curve: list[EpochRecord] = []
    for epoch in range(epochs):
        model.train()
        order = torch.randperm(len(data.train), generator=shuffles)
        summed = 0.0
        for batch in range(batches):
            rows = order[batch * BATCH : (batch + 1) * BATCH]
            loss = _step(model, optimizer, data.train, rows)
            schedule.step()
            summed += loss
            step = epoch * batches + batch + 1
            after_step(step, model)
            progress(stage, step, total, {"loss": loss})
        percent = accuracy(model, data.validation.images, data.validation.labels)
        curve.append(EpochRecord(epoch + 1, summed / batches, percent))
    return TrainedClassifier(model.eval(), tuple(curve), time.perf_counter() - start)


def _step(
    model: nn.Module, optimizer: torch.optim.Optimizer, digits: Digits, rows: torch.Tensor
) -> float:
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(digits.images[rows]), digits.labels[rows])
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
    optimizer.step()
    return loss.item()
