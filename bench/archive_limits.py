"""Whole archives: threads, other codecs, the reference, memory, the time to start."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import checkout  # noqa: F401
import numpy as np
from inputs import CHUNK_LENGTH, Models, Weights
from kernel_limits import int8_latents, integer_decoder
from peaks import Peaks
from results import Results
from timing import Function, medians

import vaecomp_native as vc
from experiments.baselines import nncodec
from vaecomp_native import reference

NNCODEC_QP = -30
"""4.1 bits a weight for the LSTM, 3.9 for the transformer."""


def threads(models: Models, peaks: Peaks, results: Results, most: int) -> None:
    """The decoder and the decoding of an archive on 1, 2, ... `most` threads; the smaller speed-up at 2.

    Both write to memory that is there; decoding to new arrays is noted beside them.
    """
    rng = np.random.default_rng(1)
    decoder, latents = integer_decoder(rng), int8_latents(rng, models.scale.chunks)
    out, path = np.zeros((latents.shape[0], CHUNK_LENGTH), np.float32), models.transformer_archive
    functions: dict[str, Callable[..., object]] = {
        "int8_decoder": partial(decoder.forward, latents, out=out),
        "archive_decode": partial(vc.decode, path, out=vc.decode(path)),
        "archive_decode_new_memory": partial(vc.decode, path),
    }
    speedups = {}
    for name, function in functions.items():
        by_count: dict[str, Function] = {
            f"{name}_ms_{count}_threads": partial(function, threads=count)
            for count in range(1, most + 1)
        }
        seconds = medians(by_count, models.scale.samples, models.scale.least)
        for key, own in seconds.items():
            results.note(key, 1e3 * own)
        one, two, *_ = seconds.values()
        speedups[name] = one / two
    results.note("new_memory_two_thread_speedup", speedups.pop("archive_decode_new_memory"))
    results.ratio("two_thread_speedup", min(speedups.values()))


def other_codec(models: Models, peaks: Peaks, results: Results) -> None:
    """Files to arrays beside nncodec's at the same size, on one thread; the smaller ratio of a small and a large model."""
    if not nncodec.installed():
        results.ratio("scalar_archive_decode_vs_nncodec", None)
        return
    ratios = []
    for model, weights, path in (
        ("lstm", models.lstm, models.lstm_archive),
        ("transformer", models.transformer, models.transformer_archive),
    ):
        other = _nncodec_file(models.folder / f"{model}.nnc", weights)
        seconds = medians(
            {
                "vaecomp": partial(vc.decode, path, threads=1),
                "nncodec": partial(_nncodec_decode, other),
            },
            samples=min(3, models.scale.samples),
            least=models.scale.least,
        )
        megabytes = sum(array.nbytes for array in weights.values()) / 1e6
        for codec, file in (("vaecomp", path), ("nncodec", other)):
            results.note(f"{codec}_{model}_mb_s", megabytes / seconds[codec])
            results.note(f"{codec}_{model}_bytes", file.stat().st_size)
        ratios.append(seconds["nncodec"] / seconds["vaecomp"])
    results.ratio("scalar_archive_decode_vs_nncodec", min(ratios))


def _nncodec_decode(path: Path) -> None:
    nncodec.decode(path.read_bytes())


def _nncodec_file(path: Path, weights: Weights) -> Path:
    path.write_bytes(nncodec.encode(weights, NNCODEC_QP))
    return path


def beside_reference(models: Models, peaks: Peaks, results: Results) -> None:
    """The whole decoding of a compact archive, natively and in plain NumPy."""
    data = models.compact_archive.read_bytes()
    seconds = medians(
        {
            "native": lambda: vc.decode(data, threads=1),
            "reference": lambda: reference.decode(data),
        },
        models.scale.samples,
        models.scale.least,
    )
    results.ratio("decode_vs_reference", seconds["reference"] / seconds["native"])
    results.note("compact_archive_ms", 1e3 * seconds["native"])
    results.note("compact_archive_reference_ms", 1e3 * seconds["reference"])


def memory(models: Models, peaks: Peaks, results: Results) -> None:
    """Memory that decoding takes at its peak, in a process that has imported the library and done nothing else."""
    script = Path(__file__).with_name("peak_memory.py")
    command = [sys.executable, str(script), str(models.transformer_archive)]
    grown = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    output = sum(array.nbytes for array in models.transformer.values())
    results.ratio("peak_memory_over_output", grown / output)
    results.note("peak_memory_mb", grown / 1e6)
    results.note("output_mb", output / 1e6)
    results.note("archive_mb", models.transformer_archive.stat().st_size / 1e6)


def imports(models: Models, peaks: Peaks, results: Results) -> None:
    """Importing the library beside importing NumPy, which it needs; the start of Python itself taken off both."""

    def start(statement: str) -> Function:
        # Away from the sources, whose package has no compiled module.
        command = [sys.executable, "-c", statement]
        return lambda: subprocess.run(command, check=True, cwd=models.folder)

    statements = {
        "python": "pass",
        "numpy": "import numpy",
        "vaecomp_native": "import vaecomp_native",
    }
    functions = {name: start(statement) for name, statement in statements.items()}
    seconds = medians(functions, models.scale.starts, least=0)
    own, numpy = (seconds[name] - seconds["python"] for name in ("vaecomp_native", "numpy"))
    results.ratio("import_vs_numpy", own / numpy)
    results.note("import_vaecomp_native_ms", 1e3 * own)
    results.note("import_numpy_ms", 1e3 * numpy)


def small_archive(models: Models, peaks: Peaks, results: Results) -> None:
    """Opening and decoding a small file."""
    path = models.cnn_archive
    functions: dict[str, Function] = {"decode": lambda: vc.decode(path, threads=1)}
    seconds = medians(functions, models.scale.samples, models.scale.least)
    results.ratio("small_archive_ms", 1e3 * seconds["decode"])
    results.note("small_archive_bytes", path.stat().st_size)
