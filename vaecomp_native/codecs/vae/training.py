"""Training: a variational autoencoder of one model's weights, and the decoders that archives keep.

`train_vae` trains it on noisy variants of the chunks; `to_float32` and `to_integer` turn the result
into a decoder and latents. This is the only part of the package that needs PyTorch.
"""

from __future__ import annotations

from vaecomp_native.codecs.vae.config import TrainingConfig, WeightPrecision
from vaecomp_native.codecs.vae.floating import to_float32
from vaecomp_native.codecs.vae.importance import tensor_importance
from vaecomp_native.codecs.vae.integer import to_integer
from vaecomp_native.codecs.vae.trainer import TrainedVAE, train_vae

__all__ = [
    "TrainedVAE",
    "TrainingConfig",
    "WeightPrecision",
    "tensor_importance",
    "to_float32",
    "to_integer",
    "train_vae",
]
