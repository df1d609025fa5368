"""Files of a series: written once, decoded once, and looked up after that."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
from torch import nn

from experiments.networks.personal import build_with
from experiments.networks.series import Arrays
from experiments.series_setup import SeriesCodec, Setup
from vaecomp_native.bits import identical
from vaecomp_native.demo.accuracy import predict
from vaecomp_native.demo.files import write_json
from vaecomp_native.errors import VaecompError


@dataclass(frozen=True)
class File:
    """A checkpoint's file and how it was made."""

    path: Path
    bytes: int
    rate_weight: float | None
    seconds: float


def _folder(codec: SeriesCodec, cache: Path) -> Path:
    return cache / "files" / codec.key[:16]


def encode(codec: SeriesCodec, number: int, cache: Path) -> File:
    """A checkpoint's file; one that is there is used again."""
    folder = _folder(codec, cache)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"checkpoint-{number:04d}{codec.suffix}"
    notes = path.with_suffix(".json")
    if not (path.exists() and notes.exists()):
        start = time.perf_counter()
        rate_weight = codec.encode(number, path)
        seconds = time.perf_counter() - start
        write_json(notes, {"rate_weight": rate_weight, "seconds": seconds})
    return File(path, path.stat().st_size, **json.loads(notes.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Stored:
    """All checkpoints as files of a codec, agreements on validation digits in percent, and seconds of decoding each alone."""

    codec: SeriesCodec
    files: Sequence[File]
    agreements: Sequence[float]
    seconds: Sequence[float]

    def predictions(self, images: torch.Tensor) -> list[torch.Tensor]:
        """What the decoded checkpoints make of images."""
        return [predict(_module(arrays), images) for arrays, _ in _decoded(self.codec, self.files)]


def store(codec: SeriesCodec, setup: Setup, cache: Path) -> Stored:
    """Encode and decode all checkpoints, or look up what came of it."""
    files = []
    for number in range(len(setup.series)):
        files.append(encode(codec, number, cache))
        setup.progress(f"coding: {codec.codec}", number + 1, len(setup.series), {})
    notes = _folder(codec, cache) / "decoded.json"
    if not notes.exists():
        agreements, seconds = _examine(codec, files, setup)
        write_json(notes, {"agreements": agreements, "seconds": seconds})
    return Stored(codec, files, **json.loads(notes.read_text(encoding="utf-8")))


def _examine(
    codec: SeriesCodec, files: Sequence[File], setup: Setup
) -> tuple[list[float], list[float]]:
    """Agreements on validation digits of what the files decode to, and seconds of decoding each alone."""
    agreements, seconds = [], []
    for number, (decoded, spent) in enumerate(_decoded(codec, files)):
        seconds.append(spent)
        if codec.lossless:
            _check_bits(codec, number, decoded, setup.series.arrays(number))
            agreements.append(100.0)
        else:
            agreements.append(setup.agreement(number)(_module(decoded)))
    return agreements, seconds if codec.random_access else list(accumulate(seconds))


def _decoded(codec: SeriesCodec, files: Sequence[File]) -> Iterator[tuple[Arrays, float]]:
    """Each file's weights and the seconds that it took."""
    previous: Arrays | None = None
    for file in files:
        start = time.perf_counter()
        previous = codec.decode(file.path, previous)
        yield previous, time.perf_counter() - start


def _check_bits(codec: SeriesCodec, number: int, decoded: Arrays, original: Arrays) -> None:
    for name, array in original.items():
        if not identical(decoded[name], array):
            raise VaecompError(
                f"{codec.codec}: checkpoint {number}'s '{name}' did not come back bit for bit"
            )


def _module(arrays: Arrays) -> nn.Module:
    return build_with({name: torch.from_numpy(array) for name, array in arrays.items()})
