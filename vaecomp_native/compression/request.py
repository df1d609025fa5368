"""Checks what `compress` and `plan` are asked for: weights, target and calibration."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt

from vaecomp_native.arguments import check_choice, check_threads
from vaecomp_native.calibration.config import Calibration
from vaecomp_native.codecs.vae.config import VaeConfig
from vaecomp_native.compression.options import (
    CODECS,
    QUANTIZERS,
    Codec,
    Options,
    Quantizer,
    with_defaults,
)
from vaecomp_native.compression.suitability import why_exact
from vaecomp_native.progress import Progress
from vaecomp_native.state_dict import StateDict, read_state_dict

if TYPE_CHECKING:
    import torch

    from vaecomp_native.calibration.model import CalibratedModel
    from vaecomp_native.state_dict import Weights

Array = npt.NDArray[Any]
CALIBRATED = ("auto", "quantized", "vae+residual")
"""The codecs that measure what errors cost."""
DEFAULT_BITS_PER_WEIGHT = 5.0
"""The bits of a quantized weight at which most networks lose nothing that can be measured."""


@dataclass(frozen=True)
class Target:
    """The target of a codec. One of the four is given.

    `weight_bits` is about the bits of each quantized weight. `file_bytes` bounds the whole file.
    `rate_weight` is what a bit must save, relative to the cost of losing a weight. `max_loss` is
    what the score may fall by.
    """

    weight_bits: float | None = None
    file_bytes: int | None = None
    rate_weight: float | None = None
    max_loss: float | None = None


@dataclass(frozen=True)
class Request:
    """One call of `compress`, checked: what every codec needs."""

    state: StateDict
    codec: Codec | Literal["auto"]
    target: Target
    quantizer: Quantizer
    model: CalibratedModel | None
    vae: VaeConfig
    threads: int
    progress: Progress

    @cached_property
    def unsuitable(self) -> dict[str, str]:
        """The tensors that no lossy codec may change, and why."""
        return why_exact(self.state.arrays)

    @cached_property
    def floats(self) -> dict[str, Array]:
        """The tensors that a lossy codec may change."""
        return self.others(self.unsuitable)

    def others(self, names: Mapping[str, Any]) -> dict[str, Array]:
        """The tensors that are not among `names`."""
        return {name: array for name, array in self.state.arrays.items() if name not in names}


def make_request(
    weights: Weights,
    options: Options,
    progress: Progress,
    read: Callable[[Weights, str | None], StateDict] = read_state_dict,
) -> Request:
    """Check the options of `compress` and `read` the weights. Raises the errors of `compress`."""
    asked = with_defaults(options)
    threads = check_threads(asked["threads"])
    check_choice("codec", asked["codec"], ("auto", *CODECS))
    check_choice("quantizer", asked["quantizer"], QUANTIZERS)
    if not isinstance(asked["vae"], VaeConfig):
        raise TypeError(f"vae is {asked['vae']!r}; give a VaeConfig")
    state = read(weights, asked["key"])
    return Request(
        state,
        asked["codec"],
        _target(asked, state.parameters),
        asked["quantizer"],
        _calibrated(weights, asked),
        asked["vae"],
        threads,
        progress,
    )


def _target(asked: Options, parameters: int) -> Target:
    given: dict[str, float | None] = {
        "bits_per_weight": asked["bits_per_weight"],
        "target_bytes": asked["target_bytes"],
        "rate_weight": asked["rate_weight"],
        "max_loss": asked["max_loss"],
    }
    named = {name: value for name, value in given.items() if value is not None}
    if len(named) > 1:
        raise ValueError(f"{' and '.join(named)} are given; give one of them")
    for name, value in named.items():
        in_range = value >= 0 if name == "max_loss" else value > 0
        if not (in_range and math.isfinite(value)):
            bound = "at least 0" if name == "max_loss" else "above 0"
            raise ValueError(f"{name} is {value}; it must be a finite number {bound}")
    if not named:
        return Target(weight_bits=DEFAULT_BITS_PER_WEIGHT)
    file_bytes = asked["target_bytes"]
    if asked["bits_per_weight"] is not None:
        file_bytes = math.floor(asked["bits_per_weight"] * parameters / 8)
    return Target(
        file_bytes=file_bytes, rate_weight=asked["rate_weight"], max_loss=asked["max_loss"]
    )


def _calibrated(weights: Weights, asked: Options) -> CalibratedModel | None:
    calibration, evaluate = Calibration.of(asked["calibration"]), asked["evaluate"]
    if asked["max_loss"] is not None and evaluate is None:
        raise ValueError("max_loss needs evaluate, a function that scores the module")
    measured = asked["codec"] in CALIBRATED
    return calibrated_model(weights, calibration, evaluate, measured=measured)


def calibrated_model(
    weights: Weights,
    calibration: Calibration | None,
    evaluate: Callable[[torch.nn.Module], float] | None,
    *,
    measured: bool = True,
) -> CalibratedModel | None:
    """Make a model of the module that is to run, or None if nothing needs it to run.

    Raises ValueError for weights that are no torch module, and the errors of `CalibratedModel.of`.
    """
    if calibration is None and evaluate is None:
        return None
    module = as_module(weights, "model")
    from vaecomp_native.calibration.model import CalibratedModel

    return CalibratedModel.of(module, calibration, evaluate, measured=measured)


def as_module(weights: Weights, who: str) -> torch.nn.Module:
    """Give back weights that are a torch module. Raises ValueError, naming `who`, for others."""
    torch_module = sys.modules.get("torch")
    if torch_module is None or not isinstance(weights, torch_module.nn.Module):
        raise ValueError(
            f"calibration and evaluate run the model: give the {who} as a torch module"
        )
    module: torch.nn.Module = weights
    return module
