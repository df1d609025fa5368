"""Ways to store the members of a fleet: what all share, and each member's own file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import vaecomp_native as vc
from experiments.baselines import bitdelta, nncodec
from experiments.baselines.differences import differences_module
from experiments.bases import BASE_LOSS, Difference, LossyBase, Setting
from experiments.networks.keyed import key_of
from experiments.networks.personal import build_with
from experiments.personal_fleet import Arrays, Fleet
from vaecomp_native.demo.files import write_json
from vaecomp_native.io import sinks
from vaecomp_native.progress import Progress, silent


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
            calibration=vc.Calibration(fleet.calibration(number), divergence="kl"),
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
    decoder_rate_weight: float
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
            "decoder_rate_weight": self.decoder_rate_weight,
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
            path,
            base=fleet.base,
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
            path,
            pack=opened,
            calibration=fleet.calibration(number),
            rate_weight=residual,
            threads=threads,
            progress=silent,
        )

    def decode(paths: Sequence[Path]) -> list[Arrays]:
        return vc.fleet.decode(paths, pack=opened, threads=threads)

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
