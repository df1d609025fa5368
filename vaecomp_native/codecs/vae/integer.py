"""The integer decoders of a trained VAE."""

from __future__ import annotations

import dataclasses

import numpy as np

from vaecomp_native.codecs.vae.config import TrainingConfig, WeightPrecision
from vaecomp_native.codecs.vae.finetune import finetune
from vaecomp_native.codecs.vae.hidden import hidden_activations
from vaecomp_native.codecs.vae.output import solve_coarse, solve_int8
from vaecomp_native.codecs.vae.refine import refine_latents
from vaecomp_native.codecs.vae.trainer import TrainedVAE, normalized_importance
from vaecomp_native.decoders import Float32Array, IntegerDecoder, IntegerLayer
from vaecomp_native.progress import Progress, silent


def to_integer(
    trained: TrainedVAE,
    chunks: np.ndarray,
    importance: np.ndarray,
    precision: WeightPrecision,
    config: TrainingConfig,
    progress: Progress = silent,
) -> tuple[IntegerDecoder, np.ndarray]:
    """An integer decoder and its latents.

    Latents and decoder are fine-tuned on the chunks as if they were integers, the last layer is solved for with error
    feedback, on the grid that `precision` asks for, and the latents are refined through the result.

    Args:
        trained: result of `train_vae` for these chunks.
        chunks: float32 [K, C].
        importance: float32 [K, C], factors of the errors, zero where a chunk is padding.
        precision: how the last layer's weights are chosen.
        config: options.
        progress: called with the stages "fine-tune" and "refine".

    Returns:
        The decoder and its latents, int8 [K, L].

    Raises:
        TrainingError: the loss of fine-tuning is not finite.
    """
    weights = normalized_importance(chunks, importance)
    code = finetune(trained, chunks, weights, config, progress)
    layer = _strongest_first(
        code.layer, hidden_activations(code.layer, code.latents, config.threads)
    )
    activations = hidden_activations(layer, code.latents, config.threads)
    if precision is WeightPrecision.INT8:
        last = solve_int8(activations, chunks, weights)
    else:
        last = solve_coarse(activations, chunks, weights, config.distortion)
    decoder = IntegerDecoder((layer, last))
    latents = refine_latents(
        decoder, code.latents, chunks, weights, config.refine_steps, config.threads, progress
    )
    return decoder, latents


def _strongest_first(layer: IntegerLayer, activations: Float32Array) -> IntegerLayer:
    """The hidden layer with its units in the order of their energy.

    Error feedback rounds the units that matter most while the most others are left to make up for it, and weights of
    like spread come to stand together, which entropy coding needs.
    """
    energy = np.square(activations, dtype=np.float64).sum(0)
    order = np.argsort(-energy, kind="stable")
    assert layer.multiplier is not None
    assert layer.shift is not None
    return dataclasses.replace(
        layer,
        weight=layer.weight[order],
        bias=layer.bias[order],
        multiplier=layer.multiplier[order],
        shift=layer.shift[order],
    )
