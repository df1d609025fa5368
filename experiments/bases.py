"""What members of a fleet are stored relative to.

Codecs of differences get each base that may favour them: none at all, the base as lossy as in our packs, finer, or lossless; and
differences from the base as it is stored, which undo its errors, or from the original, which are smaller.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vaecomp_native as vc
from experiments.personal_fleet import Arrays, Fleet
from vaecomp_native.compression.options import Options
from vaecomp_native.demo.accuracy import accuracy
from vaecomp_native.demo.digits import MnistData
from vaecomp_native.demo.files import write_json
from vaecomp_native.progress import silent

CALIBRATION_DIGITS, CALIBRATION_BATCH = 4096, 256
"""Training digits of the base's calibration, without labels, and how many at once."""

BASE_LOSS = 0.2
"""Points of validation accuracy that the lossy base may cost."""

FINE_RATE_WEIGHT = 0.02
"""Of the quantized codec for the finer base: some 3 bits a weight."""

Setting = Mapping[str, float | str]


def base_calibration(data: MnistData) -> Sequence[torch.Tensor]:
    """Batches for the base's compression."""
    return torch.split(data.train.images[:CALIBRATION_DIGITS], CALIBRATION_BATCH)


@dataclass(frozen=True)
class LossyBase:
    """The base as packs hold it: its archive, and the options of `vaecomp_native.compress` that make it."""

    path: Path
    options: Options


def lossy_base(fleet: Fleet, data: MnistData, folder: Path) -> LossyBase:
    """The smallest archive of the base that costs no more than `BASE_LOSS`, searched for once."""
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = data.validation.images, data.validation.labels
    options: dict[str, Any] = {"codec": "quantized", "calibration": base_calibration(data)}
    path = folder / f"base-lossy-{fleet.key[:12]}.vaec"
    notes = path.with_suffix(".json")
    if not (path.exists() and notes.exists()):
        report = vc.compress(
            fleet.base,
            path,
            **options,
            max_loss=BASE_LOSS,
            evaluate=lambda module: accuracy(module, images, labels),
            threads=torch.get_num_threads(),
            progress=silent,
        )
        write_json(notes, {"rate_weight": report.rate_weight})
    return LossyBase(path, options | json.loads(notes.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class StoredBase:
    """What members' differences are added to, and the bytes of its file."""

    name: str
    bytes: int
    arrays: Arrays


BASES = ("none", "lossy", "fine", "lossless")
"""Bases of differences: none, as lossy as in packs, finer, and lossless."""


def stored_bases(
    fleet: Fleet, lossy: LossyBase, data: MnistData, folder: Path, names: Sequence[str] = BASES
) -> dict[str, StoredBase]:
    """Those of `BASES` that are named, in files in ``folder``."""
    options: dict[str, dict[str, Any]] = {
        "fine": {
            "codec": "quantized",
            "rate_weight": FINE_RATE_WEIGHT,
            "calibration": base_calibration(data),
        },
        "lossless": {"codec": "lossless"},
    }
    threads = torch.get_num_threads()
    bases = {}
    for name in names:
        if name == "none":
            zeros = {key: np.zeros_like(array) for key, array in fleet.base_arrays.items()}
            bases[name] = StoredBase(name, 0, zeros)
            continue
        path = lossy.path
        if name != "lossy":
            path = folder / f"base-{name}-{fleet.key[:12]}.vaec"
            if not path.exists():
                own = options[name]
                vc.compress(fleet.base, path, **own, threads=threads, progress=silent)
        bases[name] = StoredBase(name, path.stat().st_size, vc.decode(path))
    return bases


@dataclass(frozen=True)
class Difference:
    """Members are stored as what they have beyond ``reference``, and decoded by adding it to ``base``."""

    base: StoredBase
    reference: str
    arrays: Arrays

    @property
    def setting(self) -> Setting:
        """For results."""
        return {"base": self.base.name, "difference_from": self.reference}

    @cached_property
    def digest(self) -> str:
        """Of base and reference."""
        total = hashlib.sha256()
        for array in (*self.base.arrays.values(), *self.arrays.values()):
            total.update(array.tobytes())
        return total.hexdigest()


def differences(fleet: Fleet, bases: Mapping[str, StoredBase]) -> list[Difference]:
    """The combinations that may favour a codec."""
    stored = [
        Difference(base, "stored", base.arrays)
        for name, base in bases.items()
        if name in ("none", "lossy")
    ]
    original = [
        Difference(base, "original", fleet.base_arrays)
        for name, base in bases.items()
        if name != "none"
    ]
    return [*stored, *original]
