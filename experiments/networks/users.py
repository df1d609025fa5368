"""Users whose digits are turned, scaled and shifted, each in its own way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import torch
from torch import nn

from vaecomp_native.demo.digits import MEAN, STD, Digits, MnistData

MOST_ANGLE = 1.2
SCALES = (0.7, 1.2)
MOST_SHIFT = 0.15
BACKGROUND = -MEAN / STD
"""A black pixel after normalization: what lies outside of an image."""

TRAIN_DIGITS, TEST_DIGITS = 4000, 2000
"""Most digits of a user for training, and for validation and test each; all of them where there are fewer."""

CALIBRATION_BATCHES, CALIBRATION_BATCH = 16, 32


@dataclass(frozen=True)
class Geometry:
    """How a user's images differ: a rotation in radians, a scale, and shifts in halves of the image."""

    angle: float
    scale: float
    right: float
    down: float

    def apply(self, images: torch.Tensor) -> torch.Tensor:
        """Images float32 [N, 28, 28] as this user writes them."""
        cosine, sine = math.cos(self.angle) / self.scale, math.sin(self.angle) / self.scale
        theta = torch.tensor([[[cosine, -sine, self.right], [sine, cosine, self.down]]])
        grid = nn.functional.affine_grid(theta, [1, 1, *images.shape[1:]], align_corners=False)
        moved = nn.functional.grid_sample(
            images[:, None] - BACKGROUND,
            grid.expand(len(images), -1, -1, -1),
            align_corners=False,
        )
        return moved[:, 0] + BACKGROUND


@dataclass(frozen=True)
class User:
    """A user's geometry and its digits as row numbers int64 in the parts of the data."""

    geometry: Geometry
    train: torch.Tensor
    validation: torch.Tensor
    test: torch.Tensor


class Users:
    """Users by number, each drawn with the seed and its number alone; images are made when asked for."""

    def __init__(
        self, data: MnistData, *, digits: int = TRAIN_DIGITS, test: int = TEST_DIGITS, seed: int = 0
    ) -> None:
        self.data = data
        self.seed = seed
        self._train = min(digits, len(data.train))
        self._validation = min(test, len(data.validation))
        self._test = min(test, len(data.test))

    def user(self, number: int) -> User:
        """User ``number``, from 0 up."""
        generator = np.random.default_rng((self.seed, number))
        geometry = Geometry(
            angle=generator.uniform(-MOST_ANGLE, MOST_ANGLE),
            scale=generator.uniform(*SCALES),
            right=generator.uniform(-MOST_SHIFT, MOST_SHIFT),
            down=generator.uniform(-MOST_SHIFT, MOST_SHIFT),
        )

        def rows(part: Digits, count: int) -> torch.Tensor:
            return torch.from_numpy(generator.choice(len(part), count, replace=False))

        return User(
            geometry,
            train=rows(self.data.train, self._train),
            validation=rows(self.data.validation, self._validation),
            test=rows(self.data.test, self._test),
        )

    def train(self, number: int) -> Digits:
        """The digits that the user's member is fine-tuned on."""
        user = self.user(number)
        return _digits(self.data.train, user.train, user.geometry)

    def validation(self, number: int) -> Digits:
        """Digits of the training set that no member is fine-tuned on."""
        user = self.user(number)
        return _digits(self.data.validation, user.validation, user.geometry)

    def test(self, number: int) -> Digits:
        """Digits of the test set."""
        user = self.user(number)
        return _digits(self.data.test, user.test, user.geometry)

    def calibration(
        self, number: int, *, batches: int = CALIBRATION_BATCHES, batch: int = CALIBRATION_BATCH
    ) -> CalibrationBatches:
        """Batches of the user's training images, without labels."""
        user = self.user(number)
        rows = user.train[: batches * batch]
        return CalibrationBatches(self.data.train.images, rows, user.geometry, batch)


class CalibrationBatches(Sequence[torch.Tensor]):
    """Batches float32 [B, 28, 28], each made when it is asked for: rows of the data and a geometry are all that is kept."""

    def __init__(
        self, images: torch.Tensor, rows: torch.Tensor, geometry: Geometry, batch: int
    ) -> None:
        self._images = images
        self._rows = torch.split(rows, batch)
        self._geometry = geometry

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> torch.Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> list[torch.Tensor]: ...
    def __getitem__(self, index: int | slice) -> torch.Tensor | list[torch.Tensor]:
        """One batch, or a list of some."""
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        return self._geometry.apply(self._images[self._rows[index]])


def _digits(part: Digits, rows: torch.Tensor, geometry: Geometry) -> Digits:
    return Digits(geometry.apply(part.images[rows]), part.labels[rows])
