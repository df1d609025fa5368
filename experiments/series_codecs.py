"""Ways to store a series of checkpoints: what all share, and each checkpoint's own file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

import vaecomp_native as vc
from vaecomp_native.evaluation import lossless_differences
from vaecomp_native.evaluation.accuracy import agreement
from vaecomp_native.evaluation.lossless_differences import Coder, Form
from vaecomp_native.experiments.files import write_json
from vaecomp_native.experiments.member_codecs import CALIBRATION_DIGITS, Setting
from vaecomp_native.io import sinks
from vaecomp_native.progress import Progress, silent
from vaecomp_native.zoo.keyed import key_of
from vaecomp_native.zoo.mnist import MnistData
from vaecomp_native.zoo.series import Arrays, Series

MAX_DISAGREEMENT = 0.1
"""Percent of validation digits that a decoded checkpoint may class otherwise than the original: so much at most accuracy changes, up or down."""

RESIDUAL_BATCH, MEMBER_BATCH = 256, 32
"""Digits at once when residuals are calibrated, and when latents are found."""

Base = Literal["first", "middle", "last"]
BASES: tuple[Base, ...] = get_args(Base)


@dataclass(frozen=True)
class SeriesCodec:
    """A way to store the series, which ``setting`` tells in the codec's own terms.

    ``base`` is the checkpoint that others are stored relative to, if there is one. ``shared`` is the file that checkpoints need beside their own, whose names end in ``suffix``, and ``shared_seconds`` what it took to make;
    ``key`` tells these files from those of other codecs, settings and series. With ``random_access`` a checkpoint needs
    no other one. ``encode`` writes the file of a checkpoint, given its number, and gives the rate weight of its residual if it has one. ``decode`` gives the weights in a
    file; without random access it takes those of the checkpoint before.
    """

    codec: str
    setting: Setting
    suffix: str
    lossless: bool
    random_access: bool
    base: int | None
    shared: Path | None
    shared_seconds: float
    key: str
    encode: Callable[[int, Path], float | None]
    decode: Callable[[Path, Arrays | None], Arrays]

    @property
    def shared_bytes(self) -> int:
        """Of what all checkpoints share."""
        return self.shared.stat().st_size if self.shared else 0


@dataclass(frozen=True)
class Setup:
    """The series, the data with the number of training digits to calibrate with, and the folder that shared files are kept in."""

    series: Series
    data: MnistData
    folder: Path
    digits: int = CALIBRATION_DIGITS
    progress: Progress = silent

    def agreement(self, number: int) -> Callable[[nn.Module], float]:
        """How often, in percent, a module says of validation digits what a checkpoint says."""
        return agreement(self.series.module(number), self.data.validation.images)

    def faithful(self, number: int) -> dict[str, Any]:
        """Options of compression that keep to `MAX_DISAGREEMENT`."""
        return {"evaluate": self.agreement(number), "max_loss": MAX_DISAGREEMENT}

    def calibration(self, batch: int) -> Sequence[torch.Tensor]:
        """Training digits without labels, ``batch`` at once."""
        return torch.split(self.data.train.images[: self.digits], batch)

    def number(self, base: Base) -> int:
        """The checkpoint that is the base."""
        count = len(self.series)
        return {"first": 0, "middle": count // 2, "last": count - 1}[base]


@dataclass(frozen=True)
class SeriesPack:
    """How a pack of the series is made: by what checkpoints do, or without ``rate_weight`` of principal components."""

    base: Base
    latent: int
    rate_weight: float | None = None
    steps: int = 1500

    @property
    def setting(self) -> Setting:
        """What the pack depends on."""
        known = asdict(self)
        if self.rate_weight is None:
            del known["rate_weight"], known["steps"]
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
    if pack.rate_weight is not None:
        options["calibration"] = [setup.calibration(MEMBER_BATCH)] * len(series)
        options["rate_weight"], options["steps"] = pack.rate_weight, pack.steps
    trained = _train(setup, pack, "series", base=series.module(origin), **options)
    opened = vc.fleet.Pack(trained.path, threads=threads)

    def encode(number: int, out: Path) -> float | None:
        report = vc.fleet.compress(
            series.module(number),
            opened,
            out,
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
        vc.fleet.compress(source, opened, out, lossless=True, threads=threads, progress=silent)

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


def of_previous(setup: Setup, coder: Coder, form: Form) -> SeriesCodec:
    """What differs from the checkpoint before, by another codec; the first alone."""
    series = setup.series

    def encode(number: int, out: Path) -> None:
        reference = series.arrays(number - 1) if number else None
        data = lossless_differences.encode(series.arrays(number), reference, form, coder)
        sinks.write(out, data)

    return _other(setup, coder, form, "previous", None, None, encode)


def of_base(setup: Setup, coder: Coder, form: Form, base: Base) -> SeriesCodec:
    """What differs from the base, by another codec; the base alone."""
    series, known = setup.series, setup.series.arrays(setup.number(base))
    setup.folder.mkdir(parents=True, exist_ok=True)
    key = _key(setup, coder.name, {"base": base}, version=coder.version)
    shared = setup.folder / f"base-{key[:12]}.bin"
    sinks.write(shared, lossless_differences.encode(known, None, form, coder))

    def encode(number: int, out: Path) -> None:
        data = lossless_differences.encode(series.arrays(number), known, form, coder)
        sinks.write(out, data)

    return _other(setup, coder, form, base, setup.number(base), shared, encode)


@dataclass(frozen=True)
class _Trained:
    """A pack in a file, and the seconds that its training took."""

    pack: SeriesPack
    path: Path
    seconds: float


def _train(setup: Setup, pack: SeriesPack, codec: str, **options: Any) -> _Trained:
    """Train a pack, or take the one in the folder that was trained the same way."""
    setup.folder.mkdir(parents=True, exist_ok=True)
    key = _key(setup, f"pack of {codec}", pack.setting)[:12]
    path, notes = setup.folder / f"pack-{key}.vaepack", setup.folder / f"pack-{key}.json"
    if not (path.exists() and notes.exists()):
        report = vc.fleet.train(
            setup.series.paths,
            out=path,
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
        key=_key(setup, codec, trained.pack.setting, sha256),
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
        key=_key(setup, codec, {}),
        encode=encode,
        decode=decode,
    )


def _other(
    setup: Setup,
    coder: Coder,
    form: Form,
    difference_from: str,
    base: int | None,
    shared: Path | None,
    encode: Callable[[int, Path], None],
) -> SeriesCodec:
    """A codec of another package, on differences from the checkpoint before or from the one in ``shared``."""
    setting: Setting = {"difference_from": difference_from}
    shapes = {name: array.shape for name, array in setup.series.arrays(0).items()}

    def read(path: Path, reference: Arrays | None) -> Arrays:
        data = path.read_bytes()
        return lossless_differences.decode(data, reference, form, coder, shapes)

    def decode(path: Path, previous: Arrays | None) -> Arrays:
        return read(path, read(shared, None) if shared else previous)

    codec = f"{coder.name}, {form}, {'base' if shared else 'previous'}"
    return SeriesCodec(
        codec=codec,
        setting=setting,
        suffix=".bin",
        lossless=True,
        random_access=shared is not None,
        base=base,
        shared=shared,
        shared_seconds=0.0,
        key=_key(setup, codec, setting, version=coder.version),
        encode=encode,
        decode=decode,
    )


def _key(setup: Setup, codec: str, setting: Setting, shared: str = "", version: str = "") -> str:
    parts: Mapping[str, Any] = {
        "series": setup.series.key,
        "codec": codec,
        "shared": shared,
        "max_disagreement": MAX_DISAGREEMENT,
        "digits": setup.digits,
        "versions": [vc.__version__, version],
        "setting": dict(setting),
    }
    return key_of(parts)
