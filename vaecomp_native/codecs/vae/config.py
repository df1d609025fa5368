"""The options of the latent codec and of its training, with their defaults and limits."""

from __future__ import annotations

import dataclasses
import enum
import math
from typing import Literal, get_args

from vaecomp_native.arguments import check_choice


class WeightPrecision(enum.Enum):
    """How an integer decoder's weights are chosen."""

    INT8 = "int8"
    """Accuracy first: int8 weights, a scale for each output, the width of the trained VAE."""

    COARSE = "coarse"
    """Rate first: one grid for all of the last layer, as coarse as `distortion` allows."""


DecoderKind = Literal["compact", "paper", "float32"]
DECODERS: tuple[DecoderKind, ...] = get_args(DecoderKind)
MAX_SEED = 2**63 - 1


@dataclasses.dataclass(frozen=True)
class VaeConfig:
    """Options of the latent codec.

    Args:
        decoder: "compact" (small and entropy-coded, for archives that stand alone), "paper" (the
            size of Cheng et al. 2024, in integers) or "float32" (their set-up, in floats).
        latent: numbers in a chunk's latent.
        chunk_length: weights in a chunk.
        distortion: weighted squared error that the coarse weights of a "compact" decoder may add,
            relative to that of decoding to zeros; each tensor's errors count in proportion to its
            spread. Larger is smaller and less accurate.
        epochs: passes over the training variants at most; training stops early when the validation
            loss stops falling.
        seed: of everything random; equal seeds give equal files on the same machine's CPU.
        device: "auto" (CUDA, then MPS, then CPU) or a name of a PyTorch device.

    Raises:
        ValueError: naming the field, its value and what it may be.
    """

    decoder: DecoderKind = "compact"
    latent: int = 64
    chunk_length: int = 2048
    distortion: float = 0.015
    epochs: int = 500
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_choice("decoder", self.decoder, DECODERS)
        _check_whole(
            self,
            latent=(1, 65_536),
            chunk_length=(1, 2**31),
            epochs=(1, 2**31),
            seed=(0, MAX_SEED),
        )
        _check_above_zero(self, "distortion")


@dataclasses.dataclass(frozen=True)
class TrainingConfig(VaeConfig):
    """Options of the variational autoencoder and of the decoders made from it.

    Args:
        hidden: width of the VAE's hidden layers; None leaves the choice to the caller of
            `train_vae`, which takes 512 then.
        training_variants: noisy variants of the weights to train on (Cheng et al. 2024: 80).
        validation_variants: noisy variants on which training is stopped (Cheng et al. 2024: 20).
        probability: share of the weights of a variant that carry noise, 0 to 1.
        sigma: standard deviation of the noise, relative to that of all weights.
        beta: weight of the Kullback-Leibler divergence against the squared error, which is half the
            sum over a chunk in units of the weights' mean square.
        patience: epochs without an improvement after which training stops.
        min_improvement: relative decrease of the validation loss that counts as an improvement.
        batch_chunks: chunks in a training step.
        learning_rate: of Adam; halved whenever half the patience passed without an improvement.
        finetune_steps: steps of quantization-aware training of an INT8 decoder, which is for more
            chunks than hidden units.
        refine_steps: rounds of proposals for the latents of an INT8 decoder.
        threads: of the native kernels; 0 takes all cores.

    Raises:
        ValueError: naming the field, its value and what it may be.
    """

    hidden: int | None = None
    training_variants: int = 80
    validation_variants: int = 20
    probability: float = 0.5
    sigma: float = 0.1
    beta: float = 1e-3
    patience: int = 10
    min_improvement: float = 0.01
    batch_chunks: int = 256
    learning_rate: float = 1e-3
    finetune_steps: int = 300
    refine_steps: int = 20
    threads: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = dict.fromkeys(
            ("training_variants", "validation_variants", "patience", "batch_chunks"), (1, 2**31)
        )
        steps = dict.fromkeys(("finetune_steps", "refine_steps"), (0, 2**31))
        _check_whole(self, **counts, **steps, threads=(0, 65_536))
        if self.hidden is not None:
            _check_whole(self, hidden=(1, 2**20))
        _check_real(
            self,
            probability=(0.0, 1.0),
            sigma=(0.0, math.inf),
            beta=(0.0, math.inf),
            min_improvement=(0.0, 1.0),
        )
        _check_above_zero(self, "learning_rate")


def _check_whole(config: VaeConfig, **ranges: tuple[int, int]) -> None:
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"{name} must be a whole number from {low} to {high}, not {value!r}")


def _check_real(config: VaeConfig, **ranges: tuple[float, float]) -> None:
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        if not _is_number(value) or not low <= value <= high:
            raise ValueError(
                f"{name} must be a finite number from {low:g} to {high:g}, not {value!r}"
            )


def _check_above_zero(config: VaeConfig, name: str) -> None:
    value = getattr(config, name)
    if not _is_number(value) or not value > 0:
        raise ValueError(f"{name} must be a finite number above 0, not {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
