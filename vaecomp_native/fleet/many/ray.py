"""Members on the machines of a Ray cluster, which read inputs and write outputs themselves.

Ray schedules tasks of a few members each. It holds the pack in its object store, once a machine.
It repeats the tasks of workers that die; members that such a worker had written are kept.
"""

from __future__ import annotations

import hashlib
import math
import os
import socket
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.errors import VaecompError
from vaecomp_native.fleet.many import storage
from vaecomp_native.fleet.many.maker import Maker, MakerOptions
from vaecomp_native.fleet.many.report import Item, Outcome, failed
from vaecomp_native.fleet.pack import Pack

MAX_RETRIES = 5
"""Of a task whose worker dies."""
TASK_SECONDS = 2.0
"""How long a task should take: much longer than the few milliseconds that starting it costs."""
MAX_MEMBERS = 64
"""Of a task."""
TASKS_PER_CPU = 2
"""In flight: one at work and one that waits for its place."""
CONNECT_SECONDS = CANCEL_SECONDS = 10.0


def run(
    items: Sequence[Item],
    pack: str | bytes,
    options: MakerOptions,
    *,
    workers: int = 0,
    address: str | None = None,
) -> Generator[Outcome, None, None]:
    """Outcomes as they come, of `workers` tasks at a time; 0 for two for each CPU.

    `address` is the cluster's; by default that of RAY_ADDRESS, one that runs on this machine, or a
    new local one. A connection that the program has already is used and stays. When the iterator
    is closed, tasks are cancelled.

    Raises ModuleNotFoundError without Ray, ArchiveError if the pack is none, VaecompError or
    OSError if no cluster answers.
    """
    ray = _import_ray()
    data = pack if isinstance(pack, bytes) else storage.read(pack)
    Pack(data)  # what is none is no fault of the members
    with _connected(ray, address):
        shared = ray.put(np.frombuffer(data, np.uint8))
        digest = hashlib.sha256(data).hexdigest()
        task = ray.remote(num_cpus=1, max_retries=MAX_RETRIES)(_make_batch)
        queue = _Queue(items)
        running: dict[Any, list[Item]] = {}
        try:
            while queue or running:
                max_running = workers or TASKS_PER_CPU * _cpus(ray)
                while queue and len(running) < max_running:
                    batch = queue.take(max_running)
                    running[task.remote(shared, digest, batch, options)] = batch
                (done, *_), _ = ray.wait(list(running), num_returns=1)
                yield from _outcomes(ray, done, running.pop(done), queue)
        finally:
            _cancel(ray, list(running))


class _Queue:
    """Members that wait, in batches that take about `TASK_SECONDS`."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = deque(items)
        self._alone: deque[Item] = deque()
        self._seconds = 0.0
        self._members = 0

    def __len__(self) -> int:
        return len(self._items) + len(self._alone)

    def take(self, tasks: int) -> list[Item]:
        """The next batch, small enough for all of `tasks` to have work until the end."""
        if self._alone:
            return [self._alone.popleft()]
        fair = math.ceil(len(self._items) / (2 * tasks))
        count = max(1, min(self._affordable(), fair, MAX_MEMBERS))
        return [self._items.popleft() for _ in range(min(count, len(self._items)))]

    def _affordable(self) -> int:
        if not self._members:
            return 1
        return int(TASK_SECONDS * self._members / max(self._seconds, 1e-9))

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        """Take the members' times into account."""
        self._seconds += sum(outcome.seconds for outcome in outcomes)
        self._members += len(outcomes)

    def put_back_alone(self, batch: Sequence[Item]) -> None:
        """Have these members again, each in a task of its own."""
        self._alone.extend(batch)


def _outcomes(ray: ModuleType, task: Any, batch: list[Item], queue: _Queue) -> list[Outcome]:
    """What a task that is over found; nothing if its members are to be tried one by one."""
    try:
        outcomes: list[Outcome] = ray.get(task)
    except ray.exceptions.RayError as error:
        # One member may have been too much for its worker: the others shall not suffer.
        if len(batch) > 1:
            queue.put_back_alone(batch)
            return []
        # What a task raised has a page of tracebacks around it; its cause is what went wrong.
        return [failed(batch[0], getattr(error, "cause", None) or error, time.perf_counter())]
    queue.learn(outcomes)
    return outcomes


_MAKERS: dict[str, Maker] = {}
"""In a worker: of the pack that it has open, by digest."""


def _make_batch(
    pack: npt.NDArray[np.uint8], digest: str, batch: list[Item], options: MakerOptions
) -> list[Outcome]:
    """In a worker: make members of the pack, which lies in the object store's memory."""
    if digest not in _MAKERS:
        _MAKERS.clear()
        _MAKERS[digest] = Maker(pack.data, threads=1)
    return [_MAKERS[digest].make(item, options) for item in batch]


@contextmanager
def _connected(ray: ModuleType, address: str | None) -> Iterator[None]:
    """A connection to the cluster while the block runs, unless the program has one."""
    if ray.is_initialized():
        yield
        return
    _check_reachable(address or os.environ.get("RAY_ADDRESS", ""))
    ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise VaecompError if an address with a port does not answer.

    Ray itself would try for minutes.
    """
    host, _, port = address.partition("://")[2 * ("://" in address)].rpartition(":")
    if not (host and port.isdigit()):
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise VaecompError(
            f"no Ray cluster answers at {address} ({error}); check the address, or start one: "
            "ray start --head"
        ) from error


def _cpus(ray: ModuleType) -> int:
    """CPUs of the machines that are in the cluster now."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _cancel(ray: ModuleType, tasks: list[Any]) -> None:
    """Interrupt tasks as Ctrl-C would, and give them time to remove what they were writing."""
    for task in tasks:
        ray.cancel(task)
    if tasks:
        ray.wait(tasks, num_returns=len(tasks), timeout=CANCEL_SECONDS)


def _import_ray() -> ModuleType:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'engine "ray" needs Ray; install it: pip install "vaecomp_native[fleet]"'
        ) from error
    module: ModuleType = ray
    return module
