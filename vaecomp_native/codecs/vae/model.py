"""The fully connected variational autoencoder of Cheng et al. 2024 (arXiv 2408.14513)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import skip_init

INITIAL_LOG_VARIANCE = -4.0
"""Posteriors start narrow: the reconstruction is learned first, then how much noise it bears."""


class ChunkVAE(nn.Module):
    """Encoder chunk-hidden-ReLU to mean and log variance; decoder latent-hidden-ReLU-chunk.

    Args:
        chunk_length: numbers a chunk.
        hidden: width of either hidden layer.
        latent: latents a chunk.
        generator: source of the initial weights; the global generator is left alone.
    """

    def __init__(
        self, chunk_length: int, hidden: int, latent: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.encoder = _linear(chunk_length, hidden, generator)
        self.mean = _linear(hidden, latent, generator)
        self.log_variance = _linear(hidden, latent, generator)
        self.decoder_hidden = _linear(latent, hidden, generator)
        self.decoder_output = _linear(hidden, chunk_length, generator)
        with torch.no_grad():
            self.log_variance.bias.sub_(-INITIAL_LOG_VARIANCE)

    def encode(self, chunks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log variance [B, latent] of the posterior for chunks [B, chunk_length]."""
        hidden = self.encoder(chunks).relu()
        return self.mean(hidden), self.log_variance(hidden)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Chunks [B, chunk_length] for latents [B, latent]."""
        output: torch.Tensor = self.decoder_output(self.decoder_hidden(latents).relu())
        return output


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer with PyTorch's default initial distribution, drawn from `generator`."""
    layer: nn.Linear = skip_init(nn.Linear, inputs, outputs)  # type: ignore[no-untyped-call]
    bound = inputs**-0.5
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    return layer
