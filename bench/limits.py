"""The library's speed beside the limits of the machine: python bench/limits.py [--json].

One run measures the machine (multiply-adds in registers, memcpy), other libraries for the same work
and this library. It prints each figure as a ratio; docs/performance.md explains the figures. It
needs a C++ compiler called c++ and the dependency group "bench". constriction and nncodec need
experiments/requirements.txt.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read by NumPy and PyTorch when they are imported

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import archive_limits
import fleet_limits
import kernel_limits
import torch
import typer
from inputs import QUICK, Models, Scale
from peaks import Peaks
from results import TARGETS, Results

from vaecomp_native.demo import machine
from vaecomp_native.progress import console


def measure(scale: Scale, threads_max: int) -> Results:
    """Measure all figures, with progress on standard error."""
    steps: dict[str, Callable[[Models, Peaks, Results], None]] = {
        "decoders": kernel_limits.decoders,
        "entropy coding": kernel_limits.entropy,
        "copies": kernel_limits.copies,
        "noise": kernel_limits.noise,
        "threads": partial(archive_limits.threads, max_threads=threads_max),
        "another codec": archive_limits.other_codec,
        "reference": archive_limits.beside_reference,
        "memory": archive_limits.memory,
        "import": archive_limits.imports,
        "small archive": archive_limits.small_archive,
        "members of a fleet": fleet_limits.members,
    }
    peaks, results = Peaks(), Results()
    with tempfile.TemporaryDirectory() as folder, console() as progress:
        models = Models(Path(folder), scale)
        for done, (name, step) in enumerate(steps.items()):
            progress(name, done, len(steps), {})
            step(models, peaks, results)
    return results


def main(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    threads_max: Annotated[int, typer.Option(min=2, help="Maximum threads.")] = 2,
    quick: Annotated[bool, typer.Option(help="Use small inputs, to see that it runs.")] = False,
) -> None:
    """Measure the library against the limits of this machine, in about two minutes.

    Example: python bench/limits.py --json > limits.json
    """
    torch.set_num_threads(1)
    results = measure(QUICK if quick else Scale(), threads_max)
    for key in TARGETS:
        if results.ratios[key] is None:
            typer.echo(f"{key}: needs pip install -r experiments/requirements.txt", err=True)
    if as_json:
        ratios = {key: results.ratios[key] for key in TARGETS}
        print(json.dumps(ratios | {"raw": results.raw, "machine": machine.describe()}))
        return
    print(results.markdown())
    for key, value in (results.raw | machine.describe()).items():
        print(f"{key:32} {value if isinstance(value, str) else f'{value:.4g}'}")


if __name__ == "__main__":
    typer.run(main)
