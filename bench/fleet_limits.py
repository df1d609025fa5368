"""Decoding many members of a fleet beside what their decoder alone takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from inputs import Models, Weights
from peaks import Peaks
from results import Results
from timing import Function, medians

import vaecomp_native as vc
from vaecomp_native import _core

LATENTS = (8, 64)
DIFFERENT = 16
"""Members that are made; files are used several times over, which changes nothing of the work."""

Destination = tuple[_core.ArchiveReader, list[tuple[int, int, npt.NDArray[Any]]]]


def members(models: Models, peaks: Peaks, results: Results) -> None:
    """Whole members of a linear decoder beside the decoder alone, for the CNN's 122,270 weights.

    All is on one thread, into memory that is there. The smallest ratio with digests compared
    counts; those without are noted.
    """
    ratios = []
    for latent in LATENTS:
        path, files = _pack(models, latent)
        count = models.scale.members
        seconds = medians(
            {
                "decoder": _decoders(path, count),
                "members": _members(path, files, count, verify=True),
                "members_unverified": _members(path, files, count, verify=False),
            },
            models.scale.samples,
            models.scale.least,
        )
        for name, own in seconds.items():
            results.note(f"fleet_{name}_{latent}_latents_ms", 1e3 * own)
        unverified = seconds["decoder"] / seconds["members_unverified"]
        results.note(f"unverified_members_vs_decoder_{latent}_latents", unverified)
        ratios.append(seconds["decoder"] / seconds["members"])
        results.note(f"members_vs_decoder_{latent}_latents", ratios[-1])
    results.ratio("members_vs_decoder", min(ratios))


def _pack(models: Models, latent: int) -> tuple[Path, list[Path]]:
    """A pack by principal components of members that are random, and some members."""
    rng = np.random.default_rng(latent)
    base = models.cnn
    directions: list[Weights] = [
        {name: _noise(rng, array) for name, array in base.items()} for _ in range(latent)
    ]
    trained: list[Weights] = []
    for _ in range(latent + 2):
        weights = rng.standard_normal(latent, np.float32)
        trained.append(
            {
                name: array + sum(w * one[name] for w, one in zip(weights, directions, strict=True))
                for name, array in base.items()
            }
        )
    path = models.folder / f"fleet-{latent}.vaepack"
    vc.fleet.train(trained, path, base=base, latent=latent, threads=1)
    opened = vc.fleet.Pack(path, threads=1)
    files = [models.folder / f"fleet-{latent}-{number}.vaec" for number in range(DIFFERENT)]
    for number, file in enumerate(files):
        vc.fleet.compress(trained[number % len(trained)], file, pack=opened, threads=1)
    return path, files


def _noise(rng: np.random.Generator, array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    return np.float32(0.01) * rng.standard_normal(array.shape, np.float32)


def _decoders(path: Path, count: int) -> Function:
    """The pack's decoders for latents of as many members."""
    rng = np.random.default_rng(0)
    work = []
    for group in vc.fleet.Pack(path, threads=1).groups:
        inputs = rng.integers(-40, 41, (count * len(group.position), group.decoder.latent))
        out = np.zeros((len(inputs), group.decoder.chunk_length), np.float32)
        work.append((group.decoder, inputs.astype(np.int8), out))

    def run() -> None:
        for decoder, inputs, out in work:
            decoder.forward(inputs, out=out, threads=1)

    return run


def _members(path: Path, files: list[Path], count: int, *, verify: bool) -> Function:
    """All tensors of the members, whose files are open."""
    pack = vc.open(path, threads=1, verify=verify)
    chosen: list[Destination] = []
    for number in range(count):
        member = vc.open(files[number % len(files)], pack=pack, threads=1, verify=verify)
        arrays = [np.zeros(row[1], row[2]) for row in member.reader.tensors()]
        chosen.append((member.reader, [(i, 0, array) for i, array in enumerate(arrays)]))
    return lambda: _core.decode_members(chosen)
