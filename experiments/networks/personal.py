"""A fleet: fine-tunes of one classifier, each for a user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from signal import SIG_IGN, SIGINT, signal
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from experiments.networks.classifiers import build
from experiments.networks.keyed import State, digest_of, key_of, read_state, write_state
from experiments.networks.users import Users
from vaecomp_native.demo.digits import Digits
from vaecomp_native.progress import Progress, silent

NETWORK = "cnn"
_FORMAT = 1
"""Raised when what a file holds changes in any other way than by its settings."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class FineTuning:
    """How members are made: passes over a user's digits, batch and Adam's learning rate."""

    epochs: int = 3
    batch: int = 100
    learning_rate: float = 1e-3


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
