"""What is asked of `compress` and `plan`, checked: the weights, the target, the calibration."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy.typing as npt

from vaecomp_native.arguments import check_threads
from vaecomp_native.codecs.vae.codec import DECODERS
from vaecomp_native.compression.fit import Calibration
from vaecomp_native.compression.operators import QUANTIZERS
from vaecomp_native.compression.suitability import why_exact
from vaecomp_native.progress import Progress
from vaecomp_native.state_dict import StateDict, read_state_dict

if TYPE_CHECKING:
    import torch

    from vaecomp_native.calibration import Inputs
    from vaecomp_native.state_dict import Weights

Array = npt.NDArray[Any]
Codec = Literal["quantized", "vae+residual", "lossless", "vae", "raw"]
CODECS: tuple[Codec, ...] = get_args(Codec)
Quantizer = Literal["feedback", "uniform", "ecsq", "ecsq-lloyd", "kmeans", "vbq"]
Divergence = Literal["auto", "kl", "mse"]
CALIBRATED = ("auto", "quantized", "vae+residual")
"""Codecs that measure what errors cost."""
DEFAULT_BITS_PER_WEIGHT = 5.0
"""Without calibration most networks lose nothing that one can measure."""


@dataclass(frozen=True)
class Target:
    """What a codec aims at; one of the four is given.

    `weight_bits` are about the bits of each quantized weight; `file_bytes` bounds the whole file; `rate_weight` is what a bit must save, relative to
    the cost of losing a weight; `max_loss` is what the score may fall by.
    """

    weight_bits: float | None = None
    file_bytes: int | None = None
    rate_weight: float | None = None
    max_loss: float | None = None


@dataclass(frozen=True)
class Job:
    """One call of `compress`, checked: what every codec needs."""

    state: StateDict
    target: Target
    quantizer: str
    calibration: Calibration | None
    vae: Mapping[str, Any]
    chunk_length: int
    threads: int
    progress: Progress

    @cached_property
    def unsuitable(self) -> dict[str, str]:
        """Tensors that no lossy codec may change, and why."""
        return why_exact(self.state.arrays)

    @cached_property
    def floats(self) -> dict[str, Array]:
        """Tensors that a lossy codec may change."""
        return self.others(self.unsuitable)

    def others(self, names: Mapping[str, Any]) -> dict[str, Array]:
        """Tensors that are not among `names`."""
        return {name: array for name, array in self.state.arrays.items() if name not in names}


def make_job(
    weights: Weights,
    *,
    key: str | None,
    codec: str,
    quantizer: str,
    bits_per_weight: float | None,
    target_bytes: int | None,
    rate_weight: float | None,
    max_loss: float | None,
    calibration: Iterable[Any] | None,
    evaluate: Callable[[torch.nn.Module], float] | None,
    divergence: str,
    inputs: Inputs | None,
    chunk_length: int,
    vae: Mapping[str, Any],
    threads: int,
    progress: Progress,
) -> Job:
    """Check the arguments of `compress` and read the weights; raises what its documentation says."""
    threads = check_threads(threads)
    _check_choice("codec", codec, ("auto", *CODECS))
    _check_choice("quantizer", quantizer, QUANTIZERS)
    _check_choice("divergence", divergence, get_args(Divergence))
    _check_choice("decoder", vae["decoder"], DECODERS)
    if chunk_length < 1:
        raise ValueError(f"chunk_length is {chunk_length}; it must be at least 1")
    state = read_state_dict(weights, key)
    return Job(
        state,
        _target(bits_per_weight, target_bytes, rate_weight, max_loss, state.parameters),
        quantizer,
        _calibration(weights, codec, calibration, inputs, evaluate, max_loss, divergence),
        vae,
        chunk_length,
        threads,
        progress,
    )


def _target(
    bits_per_weight: float | None,
    target_bytes: int | None,
    rate_weight: float | None,
    max_loss: float | None,
    parameters: int,
) -> Target:
    given = {
        "bits_per_weight": bits_per_weight,
        "target_bytes": target_bytes,
        "rate_weight": rate_weight,
        "max_loss": max_loss,
    }
    named = {name: value for name, value in given.items() if value is not None}
    if len(named) > 1:
        raise ValueError(f"{' and '.join(named)} are given; give one of them")
    for name, value in named.items():
        in_range = value >= 0 if name == "max_loss" else value > 0
        if not (in_range and math.isfinite(value)):
            least = "at least 0" if name == "max_loss" else "above 0"
            raise ValueError(f"{name} is {value}; it must be a finite number {least}")
    if not named:
        return Target(weight_bits=DEFAULT_BITS_PER_WEIGHT)
    if bits_per_weight is not None:
        target_bytes = math.floor(bits_per_weight * parameters / 8)
    return Target(file_bytes=target_bytes, rate_weight=rate_weight, max_loss=max_loss)


def _calibration(
    weights: Weights,
    codec: str,
    batches: Iterable[Any] | None,
    inputs: Inputs | None,
    evaluate: Callable[[torch.nn.Module], float] | None,
    max_loss: float | None,
    divergence: str,
) -> Calibration | None:
    if max_loss is not None and evaluate is None:
        raise ValueError("max_loss needs evaluate, a function that scores the module")
    check_inputs(batches, inputs)
    if batches is None and evaluate is None:
        return None
    torch_module = sys.modules.get("torch")
    if torch_module is None or not isinstance(weights, torch_module.nn.Module):
        raise ValueError(
            "calibration and evaluate run the model: give a torch module instead of weights alone"
        )
    found = calibration_of(weights, batches, inputs, evaluate, divergence)
    return measured(found) if codec in CALIBRATED else found


def check_inputs(calibration: Any, inputs: Inputs | None) -> None:
    """Raise ValueError if inputs are to be picked from no batches."""
    if calibration is None and inputs is not None:
        raise ValueError("inputs picks from calibration batches: give calibration")


def calibration_of(
    module: torch.nn.Module,
    batches: Iterable[Any] | None,
    inputs: Inputs | None,
    evaluate: Callable[[torch.nn.Module], float] | None,
    divergence: str,
) -> Calibration:
    """A module with the batches picked for it, all read. Raises what `picked` does."""
    if batches is None:
        return Calibration(module, [], evaluate, divergence)
    from vaecomp_native.calibration import picked

    return Calibration(module, list(picked(batches, inputs, module)), evaluate, divergence)


def measured(calibration: Calibration) -> Calibration:
    """With the measure that its divergence stands for, if there are batches."""
    if not calibration.batches:
        return calibration
    from vaecomp_native.calibration import measure_for

    module, batch = calibration.module, calibration.batches[0]
    return replace(calibration, divergence=measure_for(module, batch, calibration.divergence))


def _check_choice(option: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{option} is {value!r}; choose one of {', '.join(choices)}")
