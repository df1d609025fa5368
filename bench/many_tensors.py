"""The CPU seconds of calls on thousands of small tensors, as JSON.

    python bench/many_tensors.py [COUNT ...]

The tensors are float32 [4, 4]. For each count, on one thread, these are timed: compress, open,
info, decode, verify, all tensors one after another, one by its name, and the processes `vaecomp
inspect` and `vaecomp verify`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import numpy as np

import vaecomp_native as vc

COUNTS = (1_000, 20_000, 100_000)
RUNS = 2
SOME = 100
"""The number of tensors that are read by their names."""
CODECS = ("auto", "quantized", "lossless")
SHAPE = (4, 4)


def main() -> None:
    """Measure the counts on the command line, or `COUNTS`."""
    counts = [int(argument) for argument in sys.argv[1:]] or COUNTS
    warm_up = _weights(2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.vaec"
        vc.compress(warm_up, path)
        print(json.dumps({str(count): _measured(count, path) for count in counts}, indent=2))


def _measured(count: int, path: Path) -> dict[str, float]:
    weights = _weights(count)
    seconds = {
        f"compress {codec}": _seconds(lambda codec=codec: _compress(weights, path, codec))
        for codec in CODECS
    }
    vc.compress(weights, path, codec="quantized", threads=1)
    seconds["open"] = _seconds(lambda: vc.open(path, threads=1))
    with vc.open(path, threads=1) as archive:
        seconds["info"] = _seconds(lambda: archive.info)
        seconds["decode"] = _seconds(archive.decode)
        seconds["verify"] = _seconds(archive.verify)
        seconds["items"] = _seconds(lambda: sum(array.size for _, array in archive.items()))
        seconds["values"] = _seconds(lambda: sum(array.size for array in archive.values()))
        some = list(archive)[:: max(1, count // SOME)]
        by_name = _seconds(lambda: sum(archive[name].size for name in some))
        seconds["one by name"] = by_name / len(some)
    seconds["vaecomp inspect"] = _child_seconds("inspect", path)
    seconds["vaecomp inspect --json"] = _child_seconds("inspect", path, "--json")
    seconds["vaecomp verify"] = _child_seconds("verify", path)
    return {name: round(value, 6) for name, value in seconds.items()}


def _weights(count: int) -> dict[str, np.ndarray]:
    values = np.random.default_rng(0).standard_normal((count, *SHAPE)).astype(np.float32)
    return {f"layers.{i}.weight": array.copy() for i, array in enumerate(values)}


def _compress(weights: dict[str, np.ndarray], path: Path, codec: str) -> None:
    vc.compress(weights, path, codec=codec, threads=1)


def _seconds(run: Callable[[], object]) -> float:
    found = []
    for _ in range(RUNS):
        started = time.process_time()
        run()
        found.append(time.process_time() - started)
    return min(found)


def _child_seconds(*arguments: object) -> float:
    before = getrusage(RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "vaecomp_native", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
