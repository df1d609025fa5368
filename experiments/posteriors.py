"""Numbers with posteriors: a variational autoencoder's latents, and the weights of a network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from experiments.measures.quantizers import Posterior
from vaecomp_native.calibration.sensitivity import sensitivities
from vaecomp_native.codecs.vae import training
from vaecomp_native.demo.digits import MnistData
from vaecomp_native.kernels import flatten_chunk
from vaecomp_native.progress import Progress, silent
from vaecomp_native.quantization.matrix import Float32Array
from vaecomp_native.state_dict import read_state_dict

CHUNK_LENGTH = 2048
FISHER_DIGITS, FISHER_BATCH, FISHER_PROBES = 4096, 32, 4
"""Training digits behind a Fisher information, digits of a batch, and probes of each batch."""

EFFECT_DIGITS = 2000
"""Validation digits on which a network with quantized weights is compared with the original."""

EVIDENCE_STEPS = 100
BATCH = 500


@dataclass(frozen=True)
class Source:
    """A data set: what is quantized, and what errors in it do.

    ``effect`` takes decoded blocks and says how much worse things are for them; ``effect_name``
    says what that is.
    """

    name: str
    posterior: Posterior
    effect: Callable[[Sequence[Float32Array]], float]
    effect_name: str


def latents(
    models: Mapping[str, nn.Module],
    *,
    beta: float,
    epochs: int,
    seed: int = 0,
    progress: Progress = silent,
) -> Source:
    """Return the latents of one variational autoencoder, trained on the chunks of all models.

    The chunks of one network are so few that the codebooks would outweigh the latents. The
    posteriors are the encoder's for the networks themselves, without noise. The effect is the
    squared error of the weights that the decoder makes, relative to the weights.
    """
    chunks, importance = _chunks(models)
    config = training.TrainingConfig(
        beta=beta, epochs=epochs, seed=seed, threads=torch.get_num_threads(), device="cpu"
    )
    vae = training.train_vae(chunks, importance, config, progress)
    with torch.no_grad():
        means, log_variances = vae.module.encode(torch.from_numpy(chunks) / vae.scale)
        weights = vae.module.decode(means)
    used = torch.from_numpy(importance > 0)

    @torch.no_grad()
    def effect(decoded: Sequence[Float32Array]) -> float:
        errors = vae.module.decode(torch.from_numpy(decoded[0])) - weights
        return float(errors[used].square().sum() / weights[used].square().sum())

    return Source(
        name=f"latents, beta {beta:g}",
        posterior=Posterior((means.numpy(),), (log_variances.exp().numpy(),)),
        effect=effect,
        effect_name="error of the weights, relative",
    )


def weights(
    name: str, model: nn.Module, data: MnistData, *, seed: int = 0, progress: Progress = silent
) -> Source:
    """Return a network's weights with a Laplace approximation of their posterior.

    The mean is the weight. The precision is the number of training digits times the diagonal of the
    Fisher information, plus the precision of the tensor's prior. The effect is the divergence
    KL(original || quantized) of the predictions, in nats a digit.
    """
    state = {key: array.copy() for key, array in read_state_dict(model).arrays.items()}
    _, fisher = sensitivities(
        model,
        torch.split(data.train.images[:FISHER_DIGITS], FISHER_BATCH),
        (),
        state,
        temperature=1.0,
        seed=seed,
        probes=FISHER_PROBES,
        progress=progress,
    )
    variances = (
        1 / _precisions(array, len(data.train) * fisher[key]) for key, array in state.items()
    )
    images = data.validation.images[:EFFECT_DIGITS]
    changed = copy.deepcopy(model)
    expected = _log_chances(model, images)

    def effect(decoded: Sequence[Float32Array]) -> float:
        tensors = {
            key: torch.from_numpy(block.reshape(state[key].shape))
            for key, block in zip(state, decoded, strict=True)
        }
        changed.load_state_dict(tensors)
        found = _log_chances(changed, images)
        return float((expected.exp() * (expected - found)).sum(-1).mean())

    return Source(
        name=f"weights, {name.upper()}",
        posterior=Posterior(
            tuple(array.reshape(-1, 1) for array in state.values()),
            tuple(block.reshape(-1, 1).astype(np.float32) for block in variances),
        ),
        effect=effect,
        effect_name="divergence of predictions, nats",
    )


def _chunks(models: Mapping[str, nn.Module]) -> tuple[Float32Array, Float32Array]:
    """Return chunks float32 [K, C] of all models in a row, and their numbers' importance."""
    states = [list(read_state_dict(model).arrays.values()) for model in models.values()]
    chunks = [flatten_chunk(tensors, CHUNK_LENGTH)[0] for tensors in states]
    importance = [training.tensor_importance(tensors, CHUNK_LENGTH) for tensors in states]
    return np.concatenate(chunks), np.concatenate(importance)


def _precisions(
    values: npt.NDArray[np.float32], curvatures: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return curvatures of the log likelihood plus the precision of a normal prior for all values.

    The prior is the one with the largest evidence (MacKay 1992). Its precision times the sum of
    squares is the number of values that the data determine.
    """
    energy = float(np.square(values, dtype=np.float64).mean())
    if energy == 0:
        return curvatures + 1
    precision = 1 / energy
    for _ in range(EVIDENCE_STEPS):
        precision = max(float((curvatures / (curvatures + precision)).mean()), 1e-6) / energy
    return curvatures + precision


@torch.no_grad()
def _log_chances(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return log probabilities float64 [N, classes]."""
    logits = torch.cat([model(batch) for batch in torch.split(images, BATCH)])
    return logits.double().log_softmax(-1)
