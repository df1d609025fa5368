"""Quantizers beside each other: curves and savings on each data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

RATES = ("bits", "symbol_bits")
ERRORS = ("distortion", "effect")
"""Fields of a `Point` that curves are made of."""


@dataclass(frozen=True)
class Point:
    """A data set after one quantizer: bits a number, distortion in nats a number, and the effect.

    ``best_by`` says what counted when its tables were chosen: one of `RATES`, or "both". ``tables`` and the two kinds of bits are those of `measures.quantizers.Coding`; the effect is
    what the data set's ``effect_name`` says.
    """

    quantizer: str
    tables: str
    best_by: str
    rate_weight: float
    bits: float
    symbol_bits: float
    distortion: float
    effect: float


@dataclass(frozen=True)
class Saving:
    """How many percent fewer bits a quantizer takes than the baseline, by the baseline's bits.

    ``rate`` is one of `RATES`, ``error`` one of `ERRORS`. None where a curve does not reach.
    """

    quantizer: str
    rate: str
    error: str
    percent_fewer: Mapping[str, float | None]


@dataclass(frozen=True)
class DataSet:
    """A data set's curves; ``spread`` is the standard deviation of log10 of its variances."""

    name: str
    numbers: int
    channels: int
    spread: float
    effect_name: str
    points: tuple[Point, ...]
    savings: tuple[Saving, ...]


@dataclass(frozen=True)
class QuantizerResult:
    """The data sets that are finished, and how and on what it was measured."""

    data_sets: tuple[DataSet, ...]
    settings: Mapping[str, Any]
    machine: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-able objects."""
        return asdict(self)
