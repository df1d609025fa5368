"""Quantization-aware training of a decoder and of the latents on the true chunks."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from vaecomp_native.codecs.vae.config import TrainingConfig
from vaecomp_native.codecs.vae.device import choose_device
from vaecomp_native.codecs.vae.hidden import LARGEST
from vaecomp_native.codecs.vae.rounding import round_straight_through
from vaecomp_native.codecs.vae.trainer import TrainedVAE
from vaecomp_native.decoders import Float32Array, Int8Array, IntegerLayer
from vaecomp_native.errors import TrainingError
from vaecomp_native.progress import Progress
from vaecomp_native.quantization.fixed_point import fixed_point


@dataclasses.dataclass(frozen=True)
class HiddenCode:
    """Integer latents and the integer hidden layer.

    Args:
        layer: hidden layer.
        latents: int8 [K, L].
    """

    layer: IntegerLayer
    latents: Int8Array


class SimulatedDecoder(nn.Module):
    """The integer decoder in floating point, with derivatives.

    Latents, first-layer weights and hidden activations are rounded as they will be; the last layer
    stays in floating point, because its integers are solved for afterwards. While the accumulators
    are below 2^24, the hidden activations equal the exported decoder's, but for products within
    2^-22 of a tie.

    Args:
        trained: source of the initial values.
        chunks: float32 [K, C].
    """

    gains: torch.Tensor

    def __init__(self, trained: TrainedVAE, chunks: Float32Array) -> None:
        super().__init__()
        with torch.no_grad():
            means = trained.means(chunks)
            hidden, output = trained.module.decoder_hidden, trained.module.decoder_output
            latent_steps = _steps(means.abs().amax(0))
            activations = hidden(means).relu().amax(0)
            hidden_steps = _steps(activations)
            weight = hidden.weight * latent_steps
            weight_steps = _steps(weight.abs().amax(1))
            gains = fixed_point((weight_steps / hidden_steps).double().numpy())
            self.register_buffer(
                "gains", torch.from_numpy(np.ldexp(gains[0], -gains[1].astype(int))).float()
            )
            self.latents = nn.Parameter(means / latent_steps)
            self.weight = nn.Parameter(weight / weight_steps[:, None])
            self.bias = nn.Parameter(hidden.bias / hidden_steps)
            self.output_weight = nn.Parameter(output.weight * hidden_steps)
            self.output_bias = nn.Parameter(output.bias.clone())

    def activations(self, rows: torch.Tensor) -> torch.Tensor:
        """Hidden activations [B, hidden], whole numbers in [0, 127], of the chunks `rows`."""
        latents = round_straight_through(self.latents[rows]).clamp(-LARGEST, LARGEST)
        weight = round_straight_through(self.weight).clamp(-LARGEST, LARGEST)
        bias = round_straight_through(self.bias / self.gains)
        products = functional.linear(latents, weight, bias) * self.gains
        return round_straight_through(products).clamp(0, LARGEST)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Decoded chunks [B, C], in the unit of the trained VAE."""
        return functional.linear(self.activations(rows), self.output_weight, self.output_bias)

    @torch.no_grad()
    def export(self) -> HiddenCode:
        """The rounded latents and hidden layer."""

        def whole(values: torch.Tensor, largest: int) -> np.ndarray:
            return np.clip(
                np.floor(values.cpu().numpy().astype(np.float64) + 0.5), -largest, largest
            )

        multiplier, shift = fixed_point(self.gains.cpu().numpy().astype(np.float64))
        layer = IntegerLayer(
            weight=whole(self.weight, LARGEST).astype(np.int8),
            bias=whole(self.bias / self.gains, 2**30).astype(np.int32),
            multiplier=multiplier,
            shift=shift,
            scale=None,
        )
        return HiddenCode(layer, whole(self.latents, LARGEST).astype(np.int8))


def finetune(
    trained: TrainedVAE,
    chunks: Float32Array,
    weights: Float32Array,
    config: TrainingConfig,
    progress: Progress,
) -> HiddenCode:
    """Trains latents and decoder on the chunks themselves, as if they were integers already.

    Nothing is trained where the hidden units are no fewer than the chunks: the last layer then fits
    the chunks whatever the hidden layer does.

    Args:
        trained: where training starts.
        chunks: float32 [K, C].
        weights: float32 [K, C], factors of the errors (`normalized_importance`).
        config: options.
        progress: called as progress("fine-tune", step, steps, {"loss": mean squared weighted
            error}).

    Raises:
        TrainingError: the loss is no longer finite.
    """
    device = choose_device(config.device)
    model = SimulatedDecoder(trained, chunks).to(device)
    generator = torch.Generator().manual_seed(config.seed)
    steps = config.finetune_steps if len(chunks) > len(model.weight) else 0
    optimizer = torch.optim.Adam(
        [
            {"params": [model.latents], "lr": 1.0},
            {"params": [model.weight], "lr": 0.5},
            {"params": [model.bias], "lr": 0.5},
            {
                "params": [model.output_weight],
                "lr": 0.01 * (model.output_weight.std(correction=0).item() or 1.0),
            },
            {"params": [model.output_bias], "lr": 0.01},
        ],
        fused=device.type != "mps",
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    rows = torch.empty(0, dtype=torch.int64)
    for step in range(1, steps + 1):
        if not len(rows):
            rows = torch.randperm(len(chunks), generator=generator)
        batch, rows = rows[: config.batch_chunks], rows[config.batch_chunks :]
        decay = 0.5 * (1 + math.cos(math.pi * step / (steps + 1)))
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * decay
        target = torch.from_numpy(chunks[batch.numpy()] / np.float32(trained.scale)).to(device)
        weight = torch.from_numpy(weights[batch.numpy()]).to(device)
        loss = ((model(batch.to(device)) - target) * weight).square().mean()
        if not math.isfinite(loss.item()):
            raise TrainingError(
                "the loss of fine-tuning is not finite; train the VAE with a lower learning_rate"
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        progress("fine-tune", step, steps, {"loss": loss.item()})
    return model.cpu().export()


def _steps(largest: torch.Tensor) -> torch.Tensor:
    """What one of 127 units stands for, given the largest magnitude; 1 / 127 if that is 0."""
    return torch.where(largest > 0, largest, torch.ones_like(largest)) / LARGEST
