"""The float32 decoder of a trained VAE."""

from __future__ import annotations

import numpy as np

from vaecomp_native.codecs.vae.trainer import TrainedVAE
from vaecomp_native.decoders import Float32Array, Float32Decoder, Float32Layer


def to_float32(trained: TrainedVAE, chunks: Float32Array) -> tuple[Float32Decoder, Float32Array]:
    """The VAE's decoder, with the scale folded into its last layer, and the posterior means.

    Args:
        trained: result of `train_vae`.
        chunks: float32 [K, C].

    Returns:
        The decoder and its latents, float32 [K, L].
    """
    module = trained.module
    hidden = _layer(
        module.decoder_hidden.weight.detach().numpy(),
        module.decoder_hidden.bias.detach().numpy(),
        1.0,
    )
    last = _layer(
        module.decoder_output.weight.detach().numpy(),
        module.decoder_output.bias.detach().numpy(),
        trained.scale,
    )
    return Float32Decoder((hidden, last)), trained.means(chunks).numpy()


def _layer(weight: np.ndarray, bias: np.ndarray, scale: float) -> Float32Layer:
    return Float32Layer(weight * np.float32(scale), bias * np.float32(scale))
