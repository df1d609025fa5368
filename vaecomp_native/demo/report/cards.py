"""Test digits with the predictions made for them."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from matplotlib.image import imsave

from vaecomp_native.demo.digits import Digits


@dataclass(frozen=True)
class Prediction:
    """What one model made of a digit."""

    model: str
    digit: int
    correct: bool


@dataclass(frozen=True)
class DigitCard:
    """A digit as a PNG in a data URI, its label, and the predictions."""

    image: str
    label: int
    predictions: tuple[Prediction, ...]


def cards(test: Digits, predictions: Mapping[str, torch.Tensor], number: int) -> list[DigitCard]:
    """``number`` test digits with each model's prediction (int64 [N] of all test digits).

    At most half of them are digits on which the models disagree (the first of the test set); the
    rest are simply the test set's first digits.
    """
    stacked = torch.stack(list(predictions.values()))
    disagree = (stacked != stacked[0]).any(0).nonzero().flatten().tolist()[: number // 2]
    first = [index for index in range(len(test)) if index not in disagree]
    chosen = sorted(disagree) + first[: number - len(disagree)]
    return [_card(test, predictions, index) for index in chosen]


def disagreements(predictions: Mapping[str, torch.Tensor]) -> int:
    """On how many test digits any two models predict different classes."""
    stacked = torch.stack(list(predictions.values()))
    return int((stacked != stacked[0]).any(0).sum())


def _card(test: Digits, predictions: Mapping[str, torch.Tensor], index: int) -> DigitCard:
    label = int(test.labels[index])
    made = [(model, int(classes[index])) for model, classes in predictions.items()]
    return DigitCard(
        image=_data_uri(test.images[index]),
        label=label,
        predictions=tuple(Prediction(model, digit, digit == label) for model, digit in made),
    )


def _data_uri(image: torch.Tensor) -> str:
    buffer = io.BytesIO()
    imsave(buffer, image.numpy(), cmap="gray_r", format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
