"""Threads of the native library: many callers, processes made by fork, and how a process ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vaecomp_native as vc

from .archives import Sample, make_sample, quantized_section, random_quantized

THREADS = 3
PATIENCE = 60  # seconds, for what takes none
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
# Python warns of every fork where there are threads; these tests are about exactly that.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def make_blocks() -> Sample:
    """A quantized section of several blocks, so that there is something to share."""
    generator = np.random.default_rng(1)
    tensors = {f"{i}": random_quantized(generator, (300, 301), np.float32, "rC") for i in range(3)}
    section, arrays = quantized_section(tensors)
    rows: list[tuple[Any, ...]] = [
        (name, "quantized", array.shape, array.dtype, 0, vc.kernels.digest(array))
        for name, array in arrays.items()
    ]
    return Sample(vc._core.write_archive([], [("quantized", section)], rows), arrays)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return [make_blocks(), make_sample(1), make_sample(2)]


def is_right(sample: Sample, threads: int = THREADS) -> bool:
    found = vc.decode(sample.data, threads=threads)
    return all(found[name].tobytes() == array.tobytes() for name, array in sample.arrays.items())


def os_threads() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("no /proc here")
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("Threads:"))
    return int(line.split()[1])


def holds_in_a_child(sample: Sample) -> bool:
    """Whether a child made by fork decodes, several times, and ends."""
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE)
        try:
            os._exit(0 if all(is_right(sample) for _ in range(3)) else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0


def test_many_threads_decode_at_once(samples: list[Sample]) -> None:
    end = time.monotonic() + 1.5
    results: list[bool] = []
    with vc.open(samples[0].data) as shared:

        def work(number: int) -> None:
            count = 0
            while time.monotonic() < end or count == 0:
                if number % 4 == 0:
                    name, array = list(samples[0].arrays.items())[count % 3]
                    results.append(shared[name].tobytes() == array.tobytes())
                else:
                    results.append(is_right(samples[number % 4 - 1], threads=number % 5))
                count += 1

        callers = [threading.Thread(target=work, args=(number,)) for number in range(64)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(PATIENCE)
        assert not any(caller.is_alive() for caller in callers)
    assert len(results) >= 64
    assert all(results)


def test_threads_are_kept_and_few(samples: list[Sample]) -> None:
    for threads in (1, 2, 3, 4, THREADS):
        assert is_right(samples[0], threads)
    before = os_threads()
    for _ in range(100):
        assert is_right(samples[0], 4)
    callers = [
        threading.Thread(target=vc.decode, args=(samples[0].data,), kwargs={"threads": 4})
        for _ in range(16)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    end = time.monotonic() + PATIENCE
    while os_threads() > before and time.monotonic() < end:  # the callers' are about to end
        time.sleep(0.01)
    assert os_threads() <= before


@forks
def test_a_forked_child_decodes(samples: list[Sample]) -> None:
    for _ in range(5):
        assert is_right(samples[0])
        assert holds_in_a_child(samples[0])


@forks
def test_a_child_forked_while_others_decode_decodes(samples: list[Sample]) -> None:
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            vc.decode(samples[0].data, threads=THREADS)

    callers = [threading.Thread(target=work) for _ in range(3)]
    for caller in callers:
        caller.start()
    try:
        assert all(holds_in_a_child(samples[0]) for _ in range(10))
    finally:
        done.set()
        for caller in callers:
            caller.join()


START = "import sys, threading, vaecomp_native as vc; data = sys.stdin.buffer.read()"
DECODE = f"vc.decode(data, threads={THREADS})"


def run(code: str, data: bytes) -> None:
    subprocess.run([sys.executable, "-c", code], input=data, check=True, timeout=PATIENCE)


def test_one_thread_encodes_without_loss_alone() -> None:
    """The threads of the library stay, so that they can be counted."""
    os_threads()  # or there is nothing to count by
    code = """
import io, pathlib, numpy as np, vaecomp_native as vc
threads = lambda: len(list(pathlib.Path("/proc/self/task").iterdir()))
arrays = {str(i): np.random.default_rng(i).normal(size=(500, 500)) for i in range(9)}
before = threads()
vc.compress(arrays, io.BytesIO(), codec="lossless", threads=1)
assert threads() == before
vc.compress(arrays, io.BytesIO(), codec="lossless", threads=3)
assert threads() == before + 2
"""
    run(code, b"")


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_processes_of_every_kind_decode(samples: list[Sample], method: str, tmp_path: Path) -> None:
    # A program of its own: the processes that "spawn" and "forkserver" start read its file again.
    program = tmp_path / "program.py"
    program.write_text(
        f"""
import hashlib, multiprocessing, sys
import vaecomp_native as vc

def digest(data):
    arrays = vc.decode(data, threads={THREADS})
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays.values())).digest()

if __name__ == "__main__":
    data = sys.stdin.buffer.read()
    expected = digest(data)
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        found = pool.map_async(digest, [data] * 6).get({PATIENCE})
    sys.exit(found != [expected] * 6)
"""
    )
    command = [sys.executable, "-W", "ignore", program]
    subprocess.run(command, input=samples[0].data, check=True, timeout=2 * PATIENCE)


@pytest.mark.parametrize(
    "end",
    [
        "",
        "sys.exit(0)",
        "import os; os._exit(0)",
        f"import atexit; atexit.register(lambda: {DECODE})",
        f"worker = threading.Thread(target=lambda: {DECODE}); worker.start()",
    ],
    ids=["end", "exit", "_exit", "atexit", "thread"],
)
def test_a_process_ends_at_once(samples: list[Sample], end: str) -> None:
    start = time.monotonic()
    run(f"{START}\n{DECODE}\n{end}", samples[0].data)
    assert time.monotonic() - start < PATIENCE / 2


def test_a_process_ends_while_a_daemon_works() -> None:
    # Far from done when the process ends; what the workers are in is short.
    run(
        f"""
import threading, time
import numpy as np
from vaecomp_native import _core

rows, columns = 20_000, 2_000
one, feedback = np.ones(columns, np.float32), np.zeros((columns, columns), np.float32)
arguments = (np.zeros((rows, columns), np.float32), None, feedback, one)
arguments += (np.ones(rows, np.float32), np.ones(rows, np.float32), one, 0.1)
arguments += (np.zeros((1, 3), np.float32), -1, np.zeros(rows, np.uint8), {THREADS})
threading.Thread(target=_core.feedback_quantize, args=arguments, daemon=True).start()
time.sleep(0.1)
""",
        b"",
    )


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no POSIX signals here")
def test_signals_reach_the_threads_of_python(samples: list[Sample]) -> None:
    # A signal that the main thread has blocked would otherwise end the process through a worker.
    # The threads that NumPy's libraries start at import do not count: they inherit the signal as
    # blocked.
    code = f"""
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
{START}
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
{DECODE}
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
os.kill(os.getpid(), signal.SIGUSR1)
assert signal.sigwait([signal.SIGUSR1]) == signal.SIGUSR1
"""
    run(code, samples[0].data)
