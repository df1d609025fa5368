"""Compress one trained model, decode it again both ways, and measure everything on the way."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

import vaecomp_native as vc
from vaecomp_native import reference
from vaecomp_native.accounting import amortized_ratio, break_even_models
from vaecomp_native.bits import all_identical
from vaecomp_native.progress import Progress, silent
from vaecomp_native.timing import fastest

Decoder = Literal["paper", "compact"]

DECODE_REPEATS = 5
"""Native decodes that are timed; the fastest counts. The reference is timed once."""

AMORTIZED_MODELS = 100
"""The number of models M of the amortized ratio in the reports."""

LATENT = 64
"""Latents of a chunk in the paper."""


@dataclass(frozen=True)
class Measurement:
    """An archive of one model, what it decodes to, and what that took.

    ``codec`` is its name in results, ``model`` a copy of the original with the decoded weights in
    it, and ``history`` the training curve, if anything was trained. Times are in seconds.
    """

    codec: str
    info: vc.ArchiveInfo
    weights: dict[str, np.ndarray]
    model: nn.Module
    history: list[dict[str, float]]
    bit_exact: bool
    compress_seconds: float
    decode_seconds: float
    reference_decode_seconds: float

    @property
    def own_bytes(self) -> int:
        """Bytes that every model needs for itself when the decoder is shared."""
        return self.info.bytes["total"] - self.info.bytes["decoder"]

    @property
    def break_even(self) -> int | None:
        """Models that must share the decoder before it pays; see `break_even_models`."""
        return break_even_models(self.info.bytes["decoder"], self.own_bytes, self.info.raw_bytes)

    @property
    def amortized(self) -> float:
        """Ratio if `AMORTIZED_MODELS` models of this size shared the decoder."""
        shared = self.info.bytes["decoder"]
        return amortized_ratio(self.info.raw_bytes, shared, self.own_bytes, AMORTIZED_MODELS)


def measure_vae(
    model: nn.Module,
    path: Path,
    *,
    decoder: Decoder,
    epochs: int,
    latent: int = LATENT,
    seed: int = 0,
    progress: Progress = silent,
) -> Measurement:
    """`measure` with a variational autoencoder trained on the model's chunks."""
    return measure(
        model,
        path,
        f"vae-{decoder}",
        progress=progress,
        codec="vae",
        vae=vc.VaeConfig(decoder, latent, epochs=epochs, seed=seed),
    )


def measure(
    model: nn.Module, path: Path, name: str, *, progress: Progress = silent, **options: Any
) -> Measurement:
    """Compress ``model`` to ``path`` and decode it natively and through the NumPy reference.

    ``name`` is what results call the codec; ``options`` are those of `vaecomp_native.compress`.
    """
    report = vc.compress(model, path, progress=progress, **options)
    weights, seconds = fastest(lambda: vc.decode(path), DECODE_REPEATS)
    data = path.read_bytes()
    expected, reference_seconds = fastest(lambda: reference.decode(data), 1)
    decoded = copy.deepcopy(model)
    vc.load_into(decoded, path)
    return Measurement(
        codec=name,
        info=report.info,
        weights=weights,
        model=decoded.eval(),
        history=[dict(epoch) for epoch in report.history],
        bit_exact=all_identical(weights, expected),
        compress_seconds=report.seconds,
        decode_seconds=seconds,
        reference_decode_seconds=reference_seconds,
    )
