"""Hard treatment: writers that are killed, and many threads that decode for long.

VAECOMP_STRESS_SECONDS sets how long. A minute shows a slow growth in memory. The default only shows
that it works.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vaecomp_native.io import sinks

from .archives import make_block_sample, make_sample

KILLS = 200
STRESS_SECONDS = float(os.environ.get("VAECOMP_STRESS_SECONDS", "3"))
STRESS_THREADS = 64

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

# Children that write one model and the other in turn are killed after a random time.
# What they have not removed is removed then.
KILLED_WRITERS = """
import os, random, signal, sys, time
from pathlib import Path
import numpy as np
import vaecomp_native as vc

target, kills = Path(sys.argv[1]), int(sys.argv[2])
generator, delays = np.random.default_rng(1), random.Random(2)
models = [{"w": generator.standard_normal((40, 50), np.float32)} for _ in range(2)]

def write(model):
    vc.compress(model, target, codec="quantized", threads=1)

expected = []
for model in models:
    start = time.perf_counter()
    write(model)
    duration = time.perf_counter() - start
    expected.append(target.read_bytes())
assert expected[0] != expected[1]

seen, unfinished = [0, 0], 0
for _ in range(kills):
    child = os.fork()
    if child == 0:
        while True:
            for model in models:
                write(model)
    time.sleep(delays.uniform(0, 4 * duration))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    seen[expected.index(target.read_bytes())] += 1
    for path in target.parent.iterdir():
        if path != target:
            assert path.name.startswith(".vaecomp-") and path.suffix == ".tmp"
            path.unlink()
            unfinished += 1
print(*seen, unfinished, duration)
"""


def run(code: str, *arguments: object, timeout: float) -> str:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(
        command, check=True, timeout=timeout, stdout=subprocess.PIPE, text=True
    ).stdout


@pytest.mark.slow
def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    first, second, *_ = run(KILLED_WRITERS, tmp_path / "model.vaec", KILLS, timeout=300).split()
    assert int(first) + int(second) == KILLS
    # Otherwise no child came to write anything.
    assert int(first) > 0 and int(second) > 0


# Each thread decodes archives that all have open, and others that it opens itself.
MANY_THREADS = """
import sys, threading, time
import vaecomp_native as vc

seconds, count, *paths = sys.argv[1:]
seconds, count = float(seconds), int(count)
page = 4096

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * page

opened = [vc.open(path) for path in paths]
expected = [{name: array.tobytes() for name, array in archive.items()} for archive in opened]
failures, decoded = [], [0] * count

def check(arrays, number):
    for name, array in arrays.items():
        if array.tobytes() != expected[number][name]:
            failures.append((number, name))

def work(thread, end):
    turn = thread
    while time.monotonic() < end:
        number = turn % len(paths)
        path, threads = paths[number], 1 + turn % 3
        check(opened[number].decode() if turn % 2 else vc.decode(path, threads=threads), number)
        decoded[thread] += 1
        turn += 1

def run(duration):
    end = time.monotonic() + duration
    threads = [threading.Thread(target=work, args=(i, end)) for i in range(count)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()

run(seconds / 3)
warm = resident()
run(2 * seconds / 3)
assert not failures, failures[:3]
print(sum(decoded), warm, resident())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc here")
def test_many_threads_decode_for_long_and_memory_does_not_grow(tmp_path: Path) -> None:
    samples = [make_sample(1), make_sample(2), make_block_sample()]
    paths = [tmp_path / f"{i}.vaec" for i in range(len(samples))]
    for path, sample in zip(paths, samples, strict=True):
        sinks.write(path, sample.data)
    timeout = 60 + 5 * STRESS_SECONDS
    decoded, warm, after = map(
        int, run(MANY_THREADS, STRESS_SECONDS, STRESS_THREADS, *paths, timeout=timeout).split()
    )
    assert decoded >= STRESS_THREADS
    # As many threads hold tensors and interpreter frames at a time as before.
    # Pages of the allocator come and go.
    assert after - warm < 32 * 2**20, f"{warm} bytes became {after}"
