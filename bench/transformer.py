"""Encode a 22-million-parameter transformer without data: python bench/transformer.py [--json].

The model has six layers of width 384, an embedding of 30,522 words and normal weights, which are
encoded at 4 bits each. Peak memory is that of the process, with Python, NumPy and the weights
themselves.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer

import vaecomp_native as vc
from vaecomp_native.progress import silent

WIDTH, WORDS, POSITIONS, LAYERS = 384, 30_522, 512, 6
Weights = dict[str, npt.NDArray[np.float32]]


def weights(seed: int = 0, *, words: int = WORDS, layers: int = LAYERS) -> Weights:
    """Make a state dict of normal weights."""
    random = np.random.default_rng(seed)

    def normal(*shape: int, scale: float = 0.04) -> npt.NDArray[np.float32]:
        return random.standard_normal(shape, np.float32) * np.float32(scale)

    state = {
        "embeddings.word": normal(words, WIDTH),
        "embeddings.position": normal(POSITIONS, WIDTH),
    }
    for layer in range(layers):
        shapes = dict.fromkeys(("query", "key", "value", "out"), (WIDTH, WIDTH))
        shapes |= {"up": (4 * WIDTH, WIDTH), "down": (WIDTH, 4 * WIDTH)}
        for name, shape in shapes.items():
            state[f"layer.{layer}.{name}.weight"] = normal(*shape)
            state[f"layer.{layer}.{name}.bias"] = normal(shape[0], scale=0.02)
        for norm in ("norm1", "norm2"):
            state[f"layer.{layer}.{norm}.weight"] = 1 + normal(WIDTH)
            state[f"layer.{layer}.{norm}.bias"] = normal(WIDTH, scale=0.02)
    return state


def peak_bytes() -> int:
    """Return the peak memory of this process in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(
    bits: Annotated[float, typer.Option(help="Bits per weight.")] = 4.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure and print."""
    state = weights()
    raw = sum(array.nbytes for array in state.values())
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "transformer.vaec"
        report = vc.compress(state, path, codec="quantized", bits_per_weight=bits, progress=silent)
        peak = peak_bytes()
        start = time.perf_counter()
        vc.decode(path)
        decode_seconds = time.perf_counter() - start
    result = {
        "parameters": raw // 4,
        "raw_bytes": raw,
        "archive_bytes": report.info.bytes["total"],
        "relative_error": report.relative_error,
        "encode_seconds": report.seconds,
        "decode_seconds": decode_seconds,
        "peak_memory_over_model": peak / raw,
    }
    if as_json:
        print(json.dumps(result))
        return
    for key, value in result.items():
        print(f"{key:24} {value:,.4g}" if isinstance(value, float) else f"{key:24} {value:,}")


if __name__ == "__main__":
    typer.run(main)
