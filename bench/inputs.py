"""Inputs that several benchmarks share: decoders of the paper's sizes and archives of random weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import numpy as np
import numpy.typing as npt
import torch
import transformer

import vaecomp_native as vc
from experiments.networks.classifiers import build
from vaecomp_native.progress import silent

CHUNK_LENGTH = 2048
LATENT = 64
HIDDEN = 512
DECODER_WEIGHTS = LATENT * HIDDEN + HIDDEN * CHUNK_LENGTH
Weights = dict[str, npt.NDArray[np.float32]]


def integer_layers(rng: np.random.Generator) -> list[tuple[npt.NDArray[Any], ...]]:
    """A 64-512-2048 integer decoder."""
    return [
        (
            rng.integers(-128, 128, (HIDDEN, LATENT)).astype(np.int8),
            rng.integers(-1000, 1000, HIDDEN).astype(np.int32),
            rng.integers(2**30, 2**31, HIDDEN).astype(np.int32),
            rng.integers(38, 42, HIDDEN).astype(np.uint8),
        ),
        (
            rng.integers(-128, 128, (CHUNK_LENGTH, HIDDEN)).astype(np.int8),
            rng.integers(-1000, 1000, CHUNK_LENGTH).astype(np.int32),
            rng.random(CHUNK_LENGTH, np.float32),
        ),
    ]


def float32_layers(
    rng: np.random.Generator,
) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """A 64-512-2048 float32 decoder."""
    return [
        (
            rng.standard_normal((out, inputs)).astype(np.float32) / np.float32(8),
            rng.standard_normal(out).astype(np.float32),
        )
        for inputs, out in ((LATENT, HIDDEN), (HIDDEN, CHUNK_LENGTH))
    ]


@dataclass(frozen=True)
class Scale:
    """How large the inputs are and how often is measured."""

    chunks: int = 4096
    symbols: int = 1 << 22
    deviates: int = 1 << 20
    words: int = transformer.WORDS
    layers: int = transformer.LAYERS
    samples: int = 11
    least: float = 0.02
    starts: int = 25
    members: int = 256


QUICK = Scale(
    64, 1 << 16, 1 << 14, words=1000, layers=0, samples=2, least=0.001, starts=2, members=2
)
"""Only to see that everything runs."""


class Models:
    """Weights and archives, made when asked for, in a folder."""

    def __init__(self, folder: Path, scale: Scale) -> None:
        self.folder = folder
        self.scale = scale

    @cached_property
    def transformer(self) -> Weights:
        return transformer.weights(words=self.scale.words, layers=self.scale.layers)

    @cached_property
    def lstm(self) -> Weights:
        return _untrained("lstm")

    @cached_property
    def cnn(self) -> Weights:
        return _untrained("cnn")

    @cached_property
    def transformer_archive(self) -> Path:
        return self._compressed("transformer", self.transformer)

    @cached_property
    def lstm_archive(self) -> Path:
        return self._compressed("lstm", self.lstm)

    @cached_property
    def cnn_archive(self) -> Path:
        return self._compressed("cnn", self.cnn)

    @cached_property
    def compact_archive(self) -> Path:
        """The LSTM with a decoder of its own; training longer would not change the work."""
        path = self.folder / "compact.vaec"
        vc.compress(self.lstm, path, codec="vae", vae=vc.VaeConfig(epochs=1))
        return path

    def _compressed(self, name: str, weights: Weights) -> Path:
        """By the quantized codec, at 4 bits a weight."""
        path = self.folder / f"{name}.vaec"
        vc.compress(weights, path, codec="quantized", bits_per_weight=4, progress=silent)
        return path


def _untrained(network: str) -> Weights:
    torch.manual_seed(0)
    return {name: tensor.numpy() for name, tensor in build(network).state_dict().items()}
