"""Ways to store the members of a fleet: what all share, and each member's own file.

Codecs of differences get each base that may favour them: none at all, the base as lossy as in our packs, finer, or lossless; and
differences from the base as it is stored, which undo its errors, or from the original, which are smaller.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vaecomp_native as vc
from vaecomp_native.evaluation import bitdelta, nncodec
from vaecomp_native.evaluation.accuracy import accuracy
from vaecomp_native.evaluation.differences import differences_module
from vaecomp_native.experiments.files import write_json
from vaecomp_native.experiments.personal_fleet import Arrays, Fleet
from vaecomp_native.io import sinks
from vaecomp_native.progress import Progress, silent
from vaecomp_native.zoo.keyed import key_of
from vaecomp_native.zoo.mnist import MnistData
from vaecomp_native.zoo.personal import build_with

CALIBRATION_DIGITS, CALIBRATION_BATCH = 4096, 256
"""Training digits of the base's calibration, without labels, and how many at once."""

BASE_LOSS = 0.2
"""Points of validation accuracy that the lossy base may cost."""

FINE_RATE_WEIGHT = 0.02
"""Of the quantized codec for the finer base: some 3 bits a weight."""

Setting = Mapping[str, float | str]


@dataclass(frozen=True)
class MemberCodec:
    """A codec at one operating point, which ``setting`` tells in the codec's own terms.

    ``shared_bytes`` are those of all that members need beside their own files, whose names end in ``suffix``; ``key`` tells these files from those
    of other codecs, points and shared parts. ``encode`` writes the file of a member of the fleet, given its number, and
    ``decode`` gives the weights in some of them.
    """

    codec: str
    setting: Setting
    suffix: str
    shared_bytes: int
    key: str
    encode: Callable[[int, Path], None]
    decode: Callable[[Sequence[Path]], list[Arrays]]


def base_calibration(data: MnistData) -> Sequence[torch.Tensor]:
    """Batches for the base's compression."""
    return torch.split(data.train.images[:CALIBRATION_DIGITS], CALIBRATION_BATCH)


@dataclass(frozen=True)
class LossyBase:
    """The base as packs hold it: its archive, and the options of `vaecomp_native.compress` that make it."""

    path: Path
    options: Mapping[str, Any]


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


def nncodec_updates(fleet: Fleet, difference: Difference, qp: int, opt_qp: bool) -> MemberCodec:
    """ISO/IEC 15938-17: differences coded as updates of the base."""

    def encode(number: int, path: Path) -> None:
        arrays = fleet.arrays(number)
        sinks.write(path, nncodec.encode_update(arrays, difference.arrays, qp, opt_qp=opt_qp))

    def decode(paths: Sequence[Path]) -> list[Arrays]:
        base = difference.base.arrays
        return [nncodec.decode_update(path.read_bytes(), base) for path in paths]

    own: Setting = {"qp": qp, "opt_qp": opt_qp}
    return _of_difference("nncodec", ".nnc", own, fleet, difference, encode, decode)


def residuals(fleet: Fleet, difference: Difference, rate_weight: float) -> MemberCodec:
    """This package's quantized codec on differences, calibrated with each member's images."""
    state = {name: torch.from_numpy(array) for name, array in difference.arrays.items()}
    reference, threads = build_with(state), torch.get_num_threads()

    def encode(number: int, path: Path) -> None:
        vc.compress(
            differences_module(fleet.module(number), reference),
            path,
            codec="quantized",
            rate_weight=rate_weight,
            calibration=fleet.calibration(number),
            divergence="kl",
            threads=threads,
            progress=silent,
        )

    def decode(paths: Sequence[Path]) -> list[Arrays]:
        base = difference.base.arrays
        found = [vc.decode(path, threads=threads) for path in paths]
        return [{name: base[name] + own[name] for name in base} for own in found]

    own: Setting = {"rate_weight": rate_weight}
    return _of_difference("quantized", ".vaec", own, fleet, difference, encode, decode)


def one_bit(fleet: Fleet, difference: Difference, scales: str) -> MemberCodec:
    """BitDelta; ``scales`` are "mean" magnitudes or "distilled" with each member's images."""

    def encode(number: int, path: Path) -> None:
        arrays = fleet.arrays(number)
        found = None
        if scales == "distilled":
            batches = list(fleet.calibration(number))
            found = bitdelta.distilled_scales(fleet.base, arrays, difference.arrays, batches)
        sinks.write(path, bitdelta.encode(arrays, difference.arrays, found))

    def decode(paths: Sequence[Path]) -> list[Arrays]:
        return [bitdelta.decode(path.read_bytes(), difference.base.arrays) for path in paths]

    own: Setting = {"scales": scales}
    return _of_difference("bitdelta", ".bitdelta", own, fleet, difference, encode, decode)


def _of_difference(
    codec: str,
    suffix: str,
    own: Setting,
    fleet: Fleet,
    difference: Difference,
    encode: Callable[[int, Path], None],
    decode: Callable[[Sequence[Path]], list[Arrays]],
) -> MemberCodec:
    setting = {**own, **difference.setting}
    key = _key(fleet, codec, setting, difference.digest)
    return MemberCodec(codec, setting, suffix, difference.base.bytes, key, encode, decode)


@dataclass(frozen=True)
class PackSetting:
    """How a pack is trained: options of `vaecomp_native.fleet.train`.

    Its members are coded without a residual, and with one at each rate weight of ``residuals``.
    """

    latent: int
    rate_weight: float
    hidden: int = 0
    local: int = 0
    common_cost: float = 1.0
    steps: int = 1500
    residuals: tuple[float, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """What the pack depends on; of the decoder's form what is not the default."""
        form = {"hidden": self.hidden, "local": self.local, "common_cost": self.common_cost}
        return {
            "latent": self.latent,
            "rate_weight": self.rate_weight,
            "steps": self.steps,
            **{name: value for name, value in form.items() if value != getattr(PackSetting, name)},
        }


@dataclass(frozen=True)
class Pack:
    """A trained pack in a file, and what `vaecomp_native.fleet.PackReport` says of it."""

    setting: PackSetting
    path: Path
    report: Mapping[str, Any]


def train_pack(
    fleet: Fleet, base: LossyBase, setting: PackSetting, folder: Path, progress: Progress
) -> Pack:
    """Train a pack by the members' outputs, or take the one in ``folder`` that was trained the same way."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"fleet": fleet.key, "version": vc.__version__, "base_loss": BASE_LOSS}
    key = key_of({**parts, **setting.options})[:12]
    path, notes = folder / f"pack-{key}.vaepack", folder / f"pack-{key}.json"
    if not (path.exists() and notes.exists()):
        report = vc.fleet.train(
            [fleet.paths[number] for number in fleet.training],
            base=fleet.base,
            out=path,
            calibration=[fleet.calibration(number) for number in fleet.training],
            **setting.options,
            base_options=base.options,
            threads=torch.get_num_threads(),
            progress=progress,
        )
        write_json(notes, report.to_dict())
    return Pack(setting, path, json.loads(notes.read_text(encoding="utf-8")))


def shared_decoder(fleet: Fleet, pack: Pack, residual: float | None) -> MemberCodec:
    """Latents for a pack's decoder, fitted with each member's images; with a rate weight ``residual`` one is added."""
    threads = torch.get_num_threads()
    opened = vc.fleet.Pack(pack.path, threads=threads)

    def encode(number: int, path: Path) -> None:
        vc.fleet.compress(
            fleet.module(number),
            opened,
            path,
            calibration=fleet.calibration(number),
            rate_weight=residual,
            threads=threads,
            progress=silent,
        )

    def decode(paths: Sequence[Path]) -> list[Arrays]:
        return vc.fleet.decode(paths, opened, threads=threads)

    setting: Setting = {**pack.setting.options}
    if residual is not None:
        setting = {**setting, "residual_rate_weight": residual}
    key = _key(fleet, "fleet", setting, opened.sha256)
    shared_bytes = pack.path.stat().st_size
    return MemberCodec("fleet", setting, ".vaec", shared_bytes, key, encode, decode)


def _key(fleet: Fleet, codec: str, setting: Setting, shared: str) -> str:
    # Members do not depend on how many others there are.
    versions = [vc.__version__, nncodec.version() if codec == "nncodec" else ""]
    parts = {"fleet": fleet.members_key, "codec": codec, "shared": shared, "versions": versions}
    return key_of({**parts, **setting})
