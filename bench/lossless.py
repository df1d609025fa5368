"""The lossless codec beside zipnn and zstd: python bench/lossless.py MODEL.safetensors [--json].

Each file's float32 tensors are compressed as they are, rounded to bfloat16, rounded to bfloat16 but
stored as float32, and rounded to float16. This needs experiments/requirements.txt.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import other_codecs
import typer

import vaecomp_native as vc
from vaecomp_native.bits import all_identical
from vaecomp_native.progress import silent
from vaecomp_native.state_dict import read_state_dict

Arrays = dict[str, npt.NDArray[Any]]
Row = dict[str, str | int]


def forms(arrays: Arrays) -> Iterator[tuple[str, Arrays]]:
    """Yield the float32 tensors in the dtypes in which models are stored."""
    floats = {name: array for name, array in arrays.items() if array.dtype == np.float32}
    rounded = {name: array.astype(ml_dtypes.bfloat16) for name, array in floats.items()}
    yield "float32", floats
    yield "bfloat16", rounded
    yield "bfloat16 as float32", {name: array.astype(np.float32) for name, array in rounded.items()}
    yield "float16", {name: array.astype(np.float16) for name, array in floats.items()}


def ours(arrays: Arrays) -> int:
    """Return the bytes of the archive, after a check that it gives every bit back."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.vaec"
        vc.compress(arrays, path, codec="lossless", progress=silent)
        decoded = vc.decode(path)
        assert all_identical(decoded, arrays)
        return path.stat().st_size


def zipnn(arrays: Arrays) -> int:
    """Return the bytes by zipnn."""
    dtype = next(iter(arrays.values())).dtype.name
    return len(other_codecs.zipnn(dtype)[0](_bytes(arrays)))


def zstd(level: int) -> Callable[[Arrays], int]:
    """Return a function that gives the bytes by zstd at a level."""
    compress, _ = other_codecs.zstd(level)
    return lambda arrays: len(compress(_bytes(arrays)))


def _bytes(arrays: Arrays) -> bytes:
    return b"".join(array.tobytes() for array in arrays.values())


CODECS = {"vaecomp": ours, "zipnn": zipnn, "zstd -3": zstd(3), "zstd -19": zstd(19)}


def main(
    models: Annotated[list[Path], typer.Argument(help="Safetensors files.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False,
) -> None:
    """Measure, and print sizes in percent of the raw weights."""
    rows: list[Row] = []
    for model in models:
        for form, arrays in forms(dict(read_state_dict(model).arrays)):
            row: Row = {"model": model.stem, "dtype": form, "raw": len(_bytes(arrays))}
            rows.append(row | {name: size(arrays) for name, size in CODECS.items()})
    if as_json:
        print(json.dumps(rows))
        return
    print("| model | dtype | raw bytes | " + " | ".join(CODECS) + " |")
    print("|---|---|---:|" + "---:|" * len(CODECS))
    for row in rows:
        shares = (f"{100 * int(row[name]) / int(row['raw']):.1f} %" for name in CODECS)
        print(f"| {row['model']} | {row['dtype']} | {row['raw']:,} | " + " | ".join(shares) + " |")


if __name__ == "__main__":
    typer.run(main)
