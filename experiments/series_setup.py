"""A series, how faithful its copies must be, and what a way to store it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

import vaecomp_native as vc
from experiments.bases import CALIBRATION_DIGITS, Setting
from experiments.networks.keyed import key_of
from experiments.networks.series import Arrays, Series
from vaecomp_native.demo.accuracy import agreement
from vaecomp_native.demo.digits import MnistData
from vaecomp_native.progress import Progress, silent

MAX_DISAGREEMENT = 0.1
"""Percent of validation digits that a decoded checkpoint may class otherwise than the original: so much at most accuracy changes, up or down."""

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


def codec_key(
    setup: Setup, codec: str, setting: Setting, shared: str = "", version: str = ""
) -> str:
    """What tells a codec's files from those of other codecs, settings and series."""
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
