"""A series: checkpoints of one classifier's training, one every tenth of an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy.typing as npt
from torch import nn

from experiments.networks.keyed import (
    digest_of,
    key_of,
    load_state,
    read_state,
    write_state,
)
from experiments.networks.personal import NETWORK, build_with
from experiments.networks.training import default_epochs, train_network
from vaecomp_native.demo.digits import MnistData
from vaecomp_native.demo.training import batches_of_epoch
from vaecomp_native.progress import Progress, silent

MOST_OF_EPOCH = 10
"""Checkpoints of an epoch; fewer if it has fewer batches."""

_FORMAT = 1
"""Raised when what a file holds changes in any other way than by its settings."""

Array = npt.NDArray[Any]
Arrays = dict[str, Array]


@dataclass(frozen=True)
class Series:
    """Checkpoints in the order of training, numbered from 0, as safetensors files."""

    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def arrays(self, number: int) -> Arrays:
        """A checkpoint's weights by name, in the names' order."""
        state = load_state(self.paths[number])
        return {name: state[name].numpy() for name in sorted(state)}

    def module(self, number: int) -> nn.Module:
        """A checkpoint in evaluation mode."""
        return build_with(load_state(self.paths[number]))

    @cached_property
    def key(self) -> str:
        """What tells these weights from others."""
        return key_of({"checkpoints": [digest_of(load_state(path)) for path in self.paths]})

    @cached_property
    def raw_bytes(self) -> int:
        """Of one checkpoint."""
        return sum(array.nbytes for array in self.arrays(0).values())


def make_series(
    data: MnistData,
    folder: Path,
    *,
    checkpoints: int,
    epochs: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Series:
    """The last ``checkpoints`` of a training in ``folder``; those that are there are used again.

    ``epochs`` defaults to what suits the data; it is raised if it has fewer checkpoints. If a file is missing, was made otherwise, is cut short
    or changed, the training is done again and all are written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    batches = batches_of_epoch(data)
    of_epoch = min(MOST_OF_EPOCH, batches)
    epochs = max(epochs or default_epochs(NETWORK, data), -(-checkpoints // of_epoch))
    first = epochs * of_epoch - checkpoints
    train = {"images": data.train.images, "labels": data.train.labels}
    made_from = {"format": _FORMAT, "data": digest_of(train), "epochs": epochs, "seed": seed}
    keys = [key_of({**made_from, "number": first + number}) for number in range(checkpoints)]
    paths = [folder / f"checkpoint-{number:04d}.safetensors" for number in range(checkpoints)]
    if all(read_state(path, key) for path, key in zip(paths, keys, strict=True)):
        return Series(paths)

    def keep(step: int, model: nn.Module) -> None:
        number = step * of_epoch // batches
        if number > max(first, (step - 1) * of_epoch // batches):
            write_state(paths[number - first - 1], model.state_dict(), keys[number - first - 1])

    train_network(NETWORK, data, epochs=epochs, seed=seed, progress=progress, after_step=keep)
    return Series(paths)
