"""What may be asked of `compress`: one definition for it, `plan` and the base of a pack."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, get_args

from vaecomp_native.calibration.config import Calibration
from vaecomp_native.codecs.vae.config import VaeConfig

if TYPE_CHECKING:
    import torch

Codec = Literal["quantized", "vae+residual", "lossless", "vae", "raw"]
CODECS: tuple[Codec, ...] = get_args(Codec)
EXACT: tuple[Codec, ...] = ("lossless", "raw")
"""The codecs that give every bit back."""
Quantizer = Literal["feedback", "uniform", "ecsq", "ecsq-lloyd", "kmeans", "vbq"]
QUANTIZERS: tuple[Quantizer, ...] = get_args(Quantizer)
Function = TypeVar("Function", bound=Callable[..., Any])


class Options(TypedDict, total=False):
    """The keyword arguments of `vaecomp_native.compress`, which tells what they mean."""

    key: str | None
    codec: Codec | Literal["auto"]
    quantizer: Quantizer
    bits_per_weight: float | None
    target_bytes: int | None
    rate_weight: float | None
    max_loss: float | None
    calibration: Calibration | Iterable[Any] | None
    evaluate: Callable[[torch.nn.Module], float] | None
    vae: VaeConfig
    threads: int


DEFAULTS: Options = {
    "key": None,
    "codec": "auto",
    "quantizer": "feedback",
    "bits_per_weight": None,
    "target_bytes": None,
    "rate_weight": None,
    "max_loss": None,
    "calibration": None,
    "evaluate": None,
    "vae": VaeConfig(),
    "threads": 0,
}


def with_defaults(options: Options) -> Options:
    """All options, with defaults for those not given. Raises TypeError for any other name."""
    unknown = [name for name in options if name not in DEFAULTS]
    if unknown:
        raise TypeError(f"unknown option '{unknown[0]}'; choose from {', '.join(DEFAULTS)}")
    return {**DEFAULTS, **options}


def with_option_names(function: Function) -> Function:
    """Let `help` show the options' names and defaults instead of `**options`."""
    signature = inspect.signature(function)
    parameters = [one for one in signature.parameters.values() if one.name != "options"]
    annotations = Options.__annotations__
    for name, value in DEFAULTS.items():
        kind = inspect.Parameter.KEYWORD_ONLY
        annotation = annotations[name].__forward_arg__
        one = inspect.Parameter(name, kind, default=value, annotation=annotation)
        parameters.append(one)
    parameters.sort(key=lambda one: one.kind)
    function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return function
