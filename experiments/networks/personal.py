"""A fleet: fine-tunes of one classifier, each for a user whose digits are turned, scaled and shifted in its own way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from signal import SIG_IGN, SIGINT, signal
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vaecomp_native.progress import Progress, silent
from vaecomp_native.zoo.keyed import State, digest_of, key_of, read_state, write_state
from vaecomp_native.zoo.mnist import MEAN, STD, Digits, MnistData
from vaecomp_native.zoo.networks import build

NETWORK = "cnn"
MOST_ANGLE = 1.2
SCALES = (0.7, 1.2)
MOST_SHIFT = 0.15
BACKGROUND = -MEAN / STD
"""A black pixel after normalization: what lies outside of an image."""

TRAIN_DIGITS, TEST_DIGITS = 4000, 2000
"""Most digits of a user for training, and for validation and test each; all of them where there are fewer."""

CALIBRATION_BATCHES, CALIBRATION_BATCH = 16, 32

_FORMAT = 1
"""Raised when what a file holds changes in any other way than by its settings."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Geometry:
    """How a user's images differ: a rotation in radians, a scale, and shifts in halves of the image."""

    angle: float
    scale: float
    right: float
    down: float

    def apply(self, images: torch.Tensor) -> torch.Tensor:
        """Images float32 [N, 28, 28] as this user writes them."""
        cosine, sine = math.cos(self.angle) / self.scale, math.sin(self.angle) / self.scale
        theta = torch.tensor([[[cosine, -sine, self.right], [sine, cosine, self.down]]])
        grid = nn.functional.affine_grid(theta, [1, 1, *images.shape[1:]], align_corners=False)
        moved = nn.functional.grid_sample(
            images[:, None] - BACKGROUND,
            grid.expand(len(images), -1, -1, -1),
            align_corners=False,
        )
        return moved[:, 0] + BACKGROUND


@dataclass(frozen=True)
class User:
    """A user's geometry and its digits as row numbers int64 in the parts of the data."""

    geometry: Geometry
    train: torch.Tensor
    validation: torch.Tensor
    test: torch.Tensor


@dataclass(frozen=True)
class FineTuning:
    """How members are made: passes over a user's digits, batch and Adam's learning rate."""

    epochs: int = 3
    batch: int = 100
    learning_rate: float = 1e-3


class Users:
    """Users by number, each drawn with the seed and its number alone; images are made when asked for."""

    def __init__(
        self, data: MnistData, *, digits: int = TRAIN_DIGITS, test: int = TEST_DIGITS, seed: int = 0
    ) -> None:
        self.data = data
        self.seed = seed
        self._train = min(digits, len(data.train))
        self._validation = min(test, len(data.validation))
        self._test = min(test, len(data.test))

    def user(self, number: int) -> User:
        """User ``number``, from 0 up."""
        generator = np.random.default_rng((self.seed, number))
        geometry = Geometry(
            angle=generator.uniform(-MOST_ANGLE, MOST_ANGLE),
            scale=generator.uniform(*SCALES),
            right=generator.uniform(-MOST_SHIFT, MOST_SHIFT),
            down=generator.uniform(-MOST_SHIFT, MOST_SHIFT),
        )

        def rows(part: Digits, count: int) -> torch.Tensor:
            return torch.from_numpy(generator.choice(len(part), count, replace=False))

        return User(
            geometry,
            train=rows(self.data.train, self._train),
            validation=rows(self.data.validation, self._validation),
            test=rows(self.data.test, self._test),
        )

    def train(self, number: int) -> Digits:
        """The digits that the user's member is fine-tuned on."""
        user = self.user(number)
        return _digits(self.data.train, user.train, user.geometry)

    def validation(self, number: int) -> Digits:
        """Digits of the training set that no member is fine-tuned on."""
        user = self.user(number)
        return _digits(self.data.validation, user.validation, user.geometry)

    def test(self, number: int) -> Digits:
        """Digits of the test set."""
        user = self.user(number)
        return _digits(self.data.test, user.test, user.geometry)

    def calibration(
        self, number: int, *, batches: int = CALIBRATION_BATCHES, batch: int = CALIBRATION_BATCH
    ) -> CalibrationBatches:
        """Batches of the user's training images, without labels."""
        user = self.user(number)
        rows = user.train[: batches * batch]
        return CalibrationBatches(self.data.train.images, rows, user.geometry, batch)


class CalibrationBatches(Sequence[torch.Tensor]):
    """Batches float32 [B, 28, 28], each made when it is asked for: rows of the data and a geometry are all that is kept."""

    def __init__(
        self, images: torch.Tensor, rows: torch.Tensor, geometry: Geometry, batch: int
    ) -> None:
        self._images = images
        self._rows = torch.split(rows, batch)
        self._geometry = geometry

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> torch.Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> list[torch.Tensor]: ...
    def __getitem__(self, index: int | slice) -> torch.Tensor | list[torch.Tensor]:
        """One batch, or a list of some."""
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        return self._geometry.apply(self._images[self._rows[index]])


def _digits(part: Digits, rows: torch.Tensor, geometry: Geometry) -> Digits:
    return Digits(geometry.apply(part.images[rows]), part.labels[rows])


def fine_tune(base: State, digits: Digits, settings: FineTuning, seed: int) -> nn.Module:
    """The base fine-tuned on a user's digits, on one thread: the same seed gives the same weights."""
    model = build_with(base)
    shuffles = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), settings.learning_rate)
    model.train()
    with _one_thread():
        for _ in range(settings.epochs):
            order = torch.randperm(len(digits), generator=shuffles)
            for rows in torch.split(order, settings.batch):
                optimizer.zero_grad()
                logits = model(digits.images[rows])
                torch.autograd.backward(nn.functional.cross_entropy(logits, digits.labels[rows]))
                optimizer.step()
    return model.eval()


def build_with(state: State) -> nn.Module:
    """The network of this module with these weights, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        model = build(NETWORK)
    model.load_state_dict(state)
    return model.eval()


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def members(
    users: Users,
    base: State,
    numbers: Sequence[int],
    folder: Path,
    *,
    settings: FineTuning | None = None,
    workers: int = 1,
    progress: Progress = silent,
) -> list[Path]:
    """Safetensors files of the users' members in ``folder``; those that are there are used again.

    A file that was made otherwise (from another base, with other settings or digits), that is cut short or changed, is made
    anew. Each is written when its member is trained: after Ctrl-C the next call goes on where this one stopped. The weights do
    not depend on ``workers``, the number of processes.
    """
    settings = settings or FineTuning()
    folder.mkdir(parents=True, exist_ok=True)
    source = digest_of(base)
    tasks = [
        _Task(users, number, settings, folder / f"member-{number:04d}.safetensors", source)
        for number in numbers
    ]
    missing = [task for task in tasks if read_state(task.path, task.key) is None]
    made = len(tasks) - len(missing)
    for done, (task, state) in enumerate(_train(missing, base, workers), start=made + 1):
        write_state(task.path, state, task.key)
        progress("fine-tuning members", done, len(tasks), {})
    return [task.path for task in tasks]


@dataclass(frozen=True)
class _Task:
    """A member to be made; ``source`` is the digest of the base."""

    users: Users
    number: int
    settings: FineTuning
    path: Path
    source: str

    @cached_property
    def seed(self) -> int:
        """Of the shuffles."""
        state = np.random.SeedSequence((self.users.seed, self.number)).generate_state(1)
        return int(state[0])

    @cached_property
    def key(self) -> str:
        """What tells this member from those made otherwise."""
        user = self.users.user(self.number)
        labels = self.users.data.train.labels[user.train]
        parts = {
            "format": _FORMAT,
            "base": self.source,
            "settings": asdict(self.settings),
            "geometry": asdict(user.geometry),
            "digits": digest_of({"rows": user.train, "labels": labels}),
            "seed": self.seed,
        }
        return key_of(parts)


def _train(tasks: Sequence[_Task], base: State, workers: int) -> Iterator[tuple[_Task, State]]:
    """The trained weights of each task, as they are ready."""
    arrays = {name: tensor.numpy() for name, tensor in base.items()}
    workers = min(workers, len(tasks))
    if workers <= 1:
        for task in tasks:
            yield task, _tensors(_trained(*_arguments(task, arrays)))
        return
    # Forked processes could wait for ever for locks of torch's threads.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _ignore_interrupts)
    running: dict[Future[dict[str, Array]], _Task] = {}
    try:
        for task in tasks:
            running[pool.submit(_trained, *_arguments(task, arrays))] = task
            # A task carries its images: few of them wait.
            while len(running) > workers + 1:
                yield from _finished(running)
        while running:
            yield from _finished(running)
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(running: dict[Future[dict[str, Array]], _Task]) -> Iterator[tuple[_Task, State]]:
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        yield running.pop(future), _tensors(future.result())


def _ignore_interrupts() -> None:
    """Ctrl-C goes to every process of a terminal; the first one stops the others."""
    signal(SIGINT, SIG_IGN)


_Arguments = tuple[Array, Array, Mapping[str, Array], FineTuning, int]


def _arguments(task: _Task, base: Mapping[str, Array]) -> _Arguments:
    # As arrays: torch would hand tensors over in shared memory, of which there may be little.
    digits = task.users.train(task.number)
    return digits.images.numpy(), digits.labels.numpy(), base, task.settings, task.seed


def _trained(
    images: Array, labels: Array, base: Mapping[str, Array], settings: FineTuning, seed: int
) -> dict[str, Array]:
    digits = Digits(torch.from_numpy(images), torch.from_numpy(labels))
    model = fine_tune(_tensors(base), digits, settings, seed)
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def _tensors(arrays: Mapping[str, Array]) -> State:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
