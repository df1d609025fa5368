"""This package's ways to store a series of checkpoints: members of a pack, or each alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import vaecomp_native as vc
from experiments.bases import Setting
from experiments.networks.series import Arrays
from experiments.series_setup import Base, SeriesCodec, Setup, codec_key
from vaecomp_native.demo.files import write_json
from vaecomp_native.progress import silent

RESIDUAL_BATCH, MEMBER_BATCH = 256, 32
"""Digits at once when residuals are calibrated, and when latents are found."""


@dataclass(frozen=True)
class SeriesPack:
    """How a pack of the series is made: by what checkpoints do, or without ``decoder_rate_weight`` of principal components."""

    base: Base
    latent: int
    decoder_rate_weight: float | None = None
    steps: int = 1500

    @property
    def setting(self) -> Setting:
        """What the pack depends on."""
        known = asdict(self)
        if self.decoder_rate_weight is None:
            del known["decoder_rate_weight"], known["steps"]
        return known


def faithful_members(setup: Setup, pack: SeriesPack) -> SeriesCodec:
    """Members of a pack with a lossy base, with a residual where they would disagree by more than `MAX_DISAGREEMENT`."""
    series, threads, origin = setup.series, torch.get_num_threads(), setup.number(pack.base)
    options: dict[str, Any] = {
        "base_options": {
            "codec": "quantized",
            "calibration": setup.calibration(RESIDUAL_BATCH),
            **setup.faithful(origin),
        }
    }
    if pack.decoder_rate_weight is not None:
        options["calibration"] = [setup.calibration(MEMBER_BATCH)] * len(series)
        options["decoder_rate_weight"], options["steps"] = pack.decoder_rate_weight, pack.steps
    trained = _train(setup, pack, "series", base=series.module(origin), **options)
    opened = vc.fleet.Pack(trained.path, threads=threads)

    def encode(number: int, out: Path) -> float | None:
        report = vc.fleet.compress(
            series.module(number),
            out,
            pack=opened,
            calibration=setup.calibration(MEMBER_BATCH),
            **setup.faithful(number),
            threads=threads,
            progress=silent,
        )
        return report.rate_weight

    return _of_pack("series", setup, trained, opened.sha256, encode, lossless=False)


def without_loss(setup: Setup, pack: SeriesPack) -> SeriesCodec:
    """Members of a pack of principal components, bit for bit."""
    series, threads = setup.series, torch.get_num_threads()
    base = series.paths[setup.number(pack.base)]
    trained = _train(setup, pack, "series-lossless", base=base, lossless=True)
    opened = vc.fleet.Pack(trained.path, threads=threads)

    def encode(number: int, out: Path) -> None:
        source = series.paths[number]
        vc.fleet.compress(source, out, pack=opened, lossless=True, threads=threads)

    return _of_pack("series-lossless", setup, trained, opened.sha256, encode, lossless=True)


def quantized_alone(setup: Setup) -> SeriesCodec:
    """Each checkpoint by itself by the quantized codec, as coarse as `MAX_DISAGREEMENT` allows."""
    series, threads = setup.series, torch.get_num_threads()

    def encode(number: int, out: Path) -> float | None:
        report = vc.compress(
            series.module(number),
            out,
            codec="quantized",
            calibration=setup.calibration(RESIDUAL_BATCH),
            **setup.faithful(number),
            threads=threads,
            progress=silent,
        )
        return report.rate_weight

    return _alone("quantized", setup, encode, lossless=False)


def lossless_alone(setup: Setup) -> SeriesCodec:
    """Each checkpoint by itself, bit for bit."""
    threads = torch.get_num_threads()

    def encode(number: int, out: Path) -> None:
        source = setup.series.paths[number]
        vc.compress(source, out, codec="lossless", threads=threads, progress=silent)

    return _alone("lossless", setup, encode, lossless=True)


@dataclass(frozen=True)
class _Trained:
    """A pack in a file, and the seconds that its training took."""

    pack: SeriesPack
    path: Path
    seconds: float


def _train(setup: Setup, pack: SeriesPack, codec: str, **options: Any) -> _Trained:
    """Train a pack, or take the one in the folder that was trained the same way."""
    setup.folder.mkdir(parents=True, exist_ok=True)
    key = codec_key(setup, f"pack of {codec}", pack.setting)[:12]
    path, notes = setup.folder / f"pack-{key}.vaepack", setup.folder / f"pack-{key}.json"
    if not (path.exists() and notes.exists()):
        report = vc.fleet.train(
            setup.series.paths,
            path,
            latent=pack.latent,
            threads=torch.get_num_threads(),
            progress=setup.progress,
            **options,
        )
        write_json(notes, report.to_dict())
    return _Trained(pack, path, json.loads(notes.read_text(encoding="utf-8"))["seconds"])


def _of_pack(
    codec: str,
    setup: Setup,
    trained: _Trained,
    sha256: str,
    encode: Callable[[int, Path], float | None],
    *,
    lossless: bool,
) -> SeriesCodec:
    path, threads = trained.path, torch.get_num_threads()

    def decode(file: Path, previous: Arrays | None) -> Arrays:
        return vc.decode(file, pack=path, threads=threads)

    return SeriesCodec(
        codec=codec,
        setting=trained.pack.setting,
        suffix=".vaec",
        lossless=lossless,
        random_access=True,
        base=setup.number(trained.pack.base),
        shared=path,
        shared_seconds=trained.seconds,
        key=codec_key(setup, codec, trained.pack.setting, sha256),
        encode=encode,
        decode=decode,
    )


def _alone(
    codec: str, setup: Setup, encode: Callable[[int, Path], float | None], *, lossless: bool
) -> SeriesCodec:
    threads = torch.get_num_threads()

    def decode(file: Path, previous: Arrays | None) -> Arrays:
        return vc.decode(file, threads=threads)

    return SeriesCodec(
        codec=codec,
        setting={},
        suffix=".vaec",
        lossless=lossless,
        random_access=True,
        base=None,
        shared=None,
        shared_seconds=0.0,
        key=codec_key(setup, codec, {}),
        encode=encode,
        decode=decode,
    )
