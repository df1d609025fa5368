"""Training of the variational autoencoder on noisy variants of one model's weights."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from typing import Any

import numpy as np
import torch

from vaecomp_native.codecs.vae.config import TrainingConfig
from vaecomp_native.codecs.vae.device import choose_device
from vaecomp_native.codecs.vae.model import ChunkVAE
from vaecomp_native.codecs.vae.variants import Tile, Variants
from vaecomp_native.decoders import Float32Array
from vaecomp_native.errors import TrainingError
from vaecomp_native.progress import Progress, silent

DEFAULT_HIDDEN = 512


@dataclasses.dataclass(frozen=True)
class TrainedVAE:
    """A trained VAE; it codes chunks that are divided by `scale`.

    Args:
        module: on the CPU, in evaluation mode.
        scale: root mean square of the weights it was trained on (1 if they are all zero).
        history: one mapping an epoch: epoch (from 1), train_loss, validation_loss, seconds (since
            the start).
    """

    module: ChunkVAE
    scale: float
    history: list[dict[str, float]]

    @torch.no_grad()
    def means(self, chunks: Float32Array, batch_chunks: int = 1024) -> torch.Tensor:
        """Posterior means float32 [K, L] of chunks float32 [K, C]."""
        batches = (chunks[k : k + batch_chunks] for k in range(0, len(chunks), batch_chunks))
        return torch.cat(
            [self.module.encode(torch.tensor(batch) / self.scale)[0] for batch in batches]
        )


def train_vae(
    chunks: Float32Array,
    importance: Float32Array,
    config: TrainingConfig,
    progress: Progress = silent,
) -> TrainedVAE:
    """Trains a VAE on noisy variants of `chunks` (Cheng et al. 2024) and keeps its best state.

    The loss of a chunk is half the squared error, weighted with the squared importance, plus
    `config.beta` times the divergence of the posterior from N(0, 1) (Kingma & Welling 2014), with
    one reparameterized sample. Runs on the CPU repeat bit for bit for a seed and a number of
    PyTorch threads.

    Args:
        chunks: float32 [K, C], finite.
        importance: float32 [K, C], not negative, factors of the errors; zero where a chunk is
            padding. Only their ratios matter.
        config: options.
        progress: called as progress("train", epoch, epochs, {"loss": validation loss}).

    Raises:
        TrainingError: the device is not available, or the loss is no longer finite.
    """
    device = choose_device(config.device)
    scale = _root_mean_square(chunks)
    base = np.ascontiguousarray(chunks, np.float32) / np.float32(scale)
    weights = torch.from_numpy(normalized_importance(base, importance))
    training, validation = _variants(base, config)
    generator = torch.Generator().manual_seed(config.seed)
    module = ChunkVAE(base.shape[1], config.hidden or DEFAULT_HIDDEN, config.latent, generator).to(
        device
    )
    optimizer = torch.optim.Adam(
        module.parameters(), config.learning_rate, fused=device.type != "mps"
    )
    stopping = EarlyStopping(config.patience, config.min_improvement)
    history: list[dict[str, float]] = []
    start = time.perf_counter()
    for epoch in range(1, config.epochs + 1):
        train_loss = _train_epoch(module, optimizer, training, weights, generator, config)
        validation_loss = _validate(module, validation, weights, config)
        if not math.isfinite(train_loss + validation_loss):
            raise TrainingError(
                f"the loss is not finite in epoch {epoch}; use finite weights or a learning_rate "
                f"below {config.learning_rate:g}"
            )
        history.append(
            {
                "epoch": epoch,
                "train_loss": train_loss,
                "validation_loss": validation_loss,
                "seconds": time.perf_counter() - start,
            }
        )
        progress("train", epoch, config.epochs, {"loss": validation_loss})
        stopping.update(validation_loss, module)
        if stopping.stop:
            break
        if stopping.stale and stopping.stale % max(1, config.patience // 2) == 0:
            for group in optimizer.param_groups:
                group["lr"] /= 2
    stopping.restore(module)
    return TrainedVAE(module.cpu().eval(), scale, history)


class EarlyStopping:
    """Keeps the state with the lowest loss and says when it has not become lower for long.

    Args:
        patience: updates without an improvement after which `stop` is true.
        min_improvement: relative decrease that ends a wait; the best state is kept in any case.
    """

    def __init__(self, patience: int, min_improvement: float) -> None:
        self.patience = patience
        self.min_improvement = min_improvement
        self.stale = 0
        self._best = math.inf
        self._reference = math.inf
        self._state: dict[str, Any] | None = None

    @property
    def stop(self) -> bool:
        """True once the patience is used up."""
        return self.stale >= self.patience

    def update(self, loss: float, module: torch.nn.Module) -> None:
        """Takes note of the loss of the module's present state."""
        if loss < self._best:
            self._best = loss
            self._state = copy.deepcopy(module.state_dict())
        # Small improvements add up: they are measured against the loss when the wait began.
        if self._reference == math.inf or loss < self._reference * (1 - self.min_improvement):
            self._reference, self.stale = loss, 0
        else:
            self.stale += 1

    def restore(self, module: torch.nn.Module) -> None:
        """Gives the module the best state that was noted."""
        if self._state is not None:
            module.load_state_dict(self._state)


def normalized_importance(chunks: Float32Array, importance: np.ndarray) -> np.ndarray:
    """Importance float32 [K, C], scaled so that the weighted chunks have a mean square of 1.

    The mean is over the numbers with a positive importance. Chunks without any weighted number but
    zero keep weights with a mean square of 1.
    """
    used = max(1, int(np.count_nonzero(importance)))
    energy = math.sqrt(_sum_of_squares(chunks, importance) / used)
    if energy == 0:
        energy = (
            math.sqrt(
                _sum_of_squares(importance, np.broadcast_to(np.float32(1), importance.shape)) / used
            )
            or 1.0
        )
    return np.ascontiguousarray(importance / np.float32(energy), np.float32)


def _sum_of_squares(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of (a * b)^2, in float64 and without a float64 copy of the whole."""
    return float(sum(np.square(x * y, dtype=np.float64).sum() for x, y in zip(a, b, strict=True)))


def _root_mean_square(chunks: Float32Array) -> float:
    total = _sum_of_squares(chunks, np.broadcast_to(np.float32(1), chunks.shape))
    return math.sqrt(total / chunks.size) or 1.0


def _variants(base: np.ndarray, config: TrainingConfig) -> tuple[Variants, Variants]:
    def variants(first: int, count: int) -> Variants:
        return Variants(
            base,
            first,
            count,
            config.probability,
            config.sigma,
            config.seed,
            config.batch_chunks,
            config.threads,
        )

    return (
        variants(0, config.training_variants),
        variants(config.training_variants, config.validation_variants),
    )


def _train_epoch(
    module: ChunkVAE,
    optimizer: torch.optim.Optimizer,
    variants: Variants,
    weights: torch.Tensor,
    generator: torch.Generator,
    config: TrainingConfig,
) -> float:
    """One pass over the training variants; the mean loss of a chunk."""
    module.train()
    total, seen = 0.0, 0
    for tile, noisy in variants.shuffled(generator):
        x, w = _tile_tensors(module, tile, noisy, weights)
        noise = torch.randn(len(x), config.latent, generator=generator).to(x.device)
        mean, log_variance = module.encode(x)
        output = module.decode(mean + noise * (0.5 * log_variance).exp())
        loss = _loss(output, x, w, mean, log_variance, config.beta)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total, seen = total + loss.item() * len(x), seen + len(x)
    return total / seen


@torch.no_grad()
def _validate(
    module: ChunkVAE, variants: Variants, weights: torch.Tensor, config: TrainingConfig
) -> float:
    """The mean loss of a chunk of the validation variants, decoded from the posterior means."""
    module.eval()
    total, seen = 0.0, 0
    for tile, noisy in variants:
        x, w = _tile_tensors(module, tile, noisy, weights)
        mean, log_variance = module.encode(x)
        total += _loss(module.decode(mean), x, w, mean, log_variance, config.beta).item() * len(x)
        seen += len(x)
    return total / seen


def _tile_tensors(
    module: ChunkVAE, tile: Tile, noisy: np.ndarray, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    device = module.mean.weight.device
    return torch.from_numpy(noisy).to(device), weights[tile.first_chunk : tile.last_chunk].to(
        device
    )


def _loss(
    output: torch.Tensor,
    x: torch.Tensor,
    weights: torch.Tensor,
    mean: torch.Tensor,
    log_variance: torch.Tensor,
    beta: float,
) -> torch.Tensor:
    """Weighted Gaussian negative log likelihood and divergence from N(0, 1), mean of the chunks.

    `output` and `x` hold any number of variants, one behind another, of the chunks of `weights`.
    """
    error = ((output - x).view(-1, *weights.shape) * weights).square().sum()
    divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
    return (0.5 * error + beta * divergence) / len(x)
