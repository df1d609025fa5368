"""The options of training, with their defaults and limits."""

from __future__ import annotations

import dataclasses
import enum
import math


class WeightPrecision(enum.Enum):
    """How an integer decoder's weights are chosen."""

    INT8 = "int8"
    """Accuracy first: int8 weights, a scale for each output, the width of the trained VAE."""

    COARSE = "coarse"
    """Rate first: one grid for all of the last layer, as coarse as `distortion` allows."""


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Options of the variational autoencoder and of the decoders made from it.

    Args:
        latent: latents a chunk.
        hidden: width of the VAE's hidden layers; None leaves the choice to the caller of
            `train_vae`, which takes 512 then.
        training_variants: noisy variants of the weights to train on (Cheng et al. 2024: 80).
        validation_variants: noisy variants on which training is stopped (Cheng et al. 2024: 20).
        probability: share of the weights of a variant that carry noise, 0 to 1.
        sigma: standard deviation of the noise, relative to that of all weights.
        beta: weight of the Kullback-Leibler divergence against the squared error, which is half the
            sum over a chunk in units of the weights' mean square.
        epochs: passes over the training variants at most.
        patience: epochs without an improvement after which training stops.
        min_improvement: relative decrease of the validation loss that counts as an improvement.
        batch_chunks: chunks in a training step.
        learning_rate: of Adam; halved whenever half the patience passed without an improvement.
        seed: of the initial weights, the variants, the order of the tiles and the
            reparameterization.
        device: "auto" (CUDA, then MPS, then CPU) or a name of a PyTorch device.
        finetune_steps: steps of quantization-aware training of an INT8 decoder, which is for more
            chunks than hidden units.
        refine_steps: rounds of proposals for the latents of an INT8 decoder.
        distortion: weighted squared error that the grid of a COARSE decoder may add, relative to that of
            decoding to zeros. Larger is smaller and less accurate.
        threads: of the native kernels; 0 takes all cores.

    Raises:
        ValueError: naming the field, its value and what it may be.
    """

    latent: int = 64
    hidden: int | None = None
    training_variants: int = 80
    validation_variants: int = 20
    probability: float = 0.5
    sigma: float = 0.1
    beta: float = 1e-3
    epochs: int = 500
    patience: int = 10
    min_improvement: float = 0.01
    batch_chunks: int = 256
    learning_rate: float = 1e-3
    seed: int = 0
    device: str = "auto"
    finetune_steps: int = 300
    refine_steps: int = 20
    distortion: float = 0.015
    threads: int = 0

    def __post_init__(self) -> None:
        whole = {
            "latent": (1, 65_536),
            "training_variants": (1, 2**31),
            "validation_variants": (1, 2**31),
            "epochs": (1, 2**31),
            "patience": (1, 2**31),
            "batch_chunks": (1, 2**31),
            "seed": (0, 2**63 - 1),
            "finetune_steps": (0, 2**31),
            "refine_steps": (0, 2**31),
            "threads": (0, 65_536),
        }
        real = {
            "probability": (0.0, 1.0),
            "sigma": (0.0, math.inf),
            "beta": (0.0, math.inf),
            "min_improvement": (0.0, 1.0),
        }
        if self.hidden is not None:
            whole["hidden"] = (1, 2**20)
        for name, (low, high) in whole.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ValueError(
                    f"{name} must be a whole number from {low} to {high}, not {value!r}"
                )
        for name, (least, most) in real.items():
            if not _is_number(getattr(self, name)) or not least <= getattr(self, name) <= most:
                raise ValueError(
                    f"{name} must be a finite number from {least:g} to {most:g}, "
                    f"not {getattr(self, name)!r}"
                )
        for name in ("learning_rate", "distortion"):
            if not _is_number(getattr(self, name)) or not getattr(self, name) > 0:
                raise ValueError(
                    f"{name} must be a finite number above 0, not {getattr(self, name)!r}"
                )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
