"""Seeded training of the networks, each for as long as suits it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from experiments.networks.classifiers import build
from vaecomp_native.demo.digits import MnistData
from vaecomp_native.demo.training import TrainedClassifier, train_classifier
from vaecomp_native.progress import Progress, silent

EPOCHS_FULL: dict[str, int] = {"fnn": 8, "cnn": 6, "rnn": 4, "lstm": 4, "lenet5": 6}
"""Passes over the 50,000 training digits of full MNIST."""

EPOCHS_BUNDLED: dict[str, int] = {"fnn": 30, "cnn": 15, "rnn": 30, "lstm": 20, "lenet5": 15}
"""Passes over the 4,000 training digits of the bundled set."""


def default_epochs(name: str, data: MnistData) -> int:
    """How many epochs a network is trained in the experiments."""
    return (EPOCHS_FULL if data.full else EPOCHS_BUNDLED)[name]


def train_network(
    name: str,
    data: MnistData,
    *,
    epochs: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
    after_step: Callable[[int, nn.Module], None] = lambda step, model: None,
) -> TrainedClassifier:
    """`train_classifier` with a network by its name; ``epochs`` defaults to what suits it and the data."""
    return train_classifier(
        partial(build, name),
        data,
        epochs=epochs or default_epochs(name, data),
        seed=seed,
        stage=f"training {name}",
        progress=progress,
        after_step=after_step,
    )
