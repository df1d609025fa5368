"""Quantizers beside each other: bits and distortion of the same numbers with the same posteriors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vaecomp_native.compression.operators import ELEMENTWISE
from vaecomp_native.quantization.entropy import entropy_bits, total_bits
from vaecomp_native.quantization.matrix import (
    Float32Array,
    QuantizedMatrix,
    Quantizer,
    to_bfloat16,
)
from vaecomp_native.quantization.vbq import quantize_latents

QUANTIZERS: Mapping[str, Quantizer] = ELEMENTWISE

PARAMETER_BITS = 16
"""Of a step, of which each matrix has one, and of the scale of a channel."""


@dataclass(frozen=True)
class Posterior:
    """Numbers with a normal posterior each, in blocks [N, L] whose L columns are channels.

    ``means`` and ``variances`` are float32 and finite, the variances positive. Latents are one block
    [chunks, latents]; the weights of a network are a block [weights, 1] for each tensor.
    """

    means: tuple[Float32Array, ...]
    variances: tuple[Float32Array, ...]

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return sum(block.size for block in self.means)

    def distortion(self, decoded: Sequence[Float32Array]) -> float:
        """Mean of error^2 / (2 variance) over all numbers, in nats a number.

        So much less likely than the mean is a decoded number under its posterior. It is the
        distortion of variational Bayesian quantization (arXiv 2002.08158).
        """
        blocks = zip(self.means, self.variances, decoded, strict=True)
        errors = (((m.astype(np.float64) - d) ** 2 / v).sum() for m, v, d in blocks)
        return float(sum(errors)) / (2 * self.size)


@dataclass(frozen=True)
class Coding:
    """A posterior's numbers after one quantizer.

    ``tables`` names one of `TABLES`. ``bits`` a number are those of the symbols and of all that decodes
    them, ``symbol_bits`` the ideal code length of the symbols alone. ``decoded`` has the blocks of
    the posterior.
    """

    quantizer: str
    tables: str
    rate_weight: float
    bits: float
    symbol_bits: float
    distortion: float
    decoded: tuple[Float32Array, ...]

    @property
    def objectives(self) -> tuple[float, float]:
        """Distortion and the price of the bits, of all of them and of the symbols alone."""
        price = self.rate_weight / 2
        return self.distortion + price * self.bits, self.distortion + price * self.symbol_bits


def codings(posterior: Posterior, quantizer: str, rate_weight: float) -> tuple[Coding, Coding]:
    """Code the numbers with every form of tables, and keep what is best.

    Args:
        posterior: what is coded.
        quantizer: one of `QUANTIZERS`.
        rate_weight: error^2 / variance that is worth one bit; twice the published lambda.

    Returns:
        The coding with the least objective, and the one, often the same, that would have it if
        tables, codebooks and scales cost nothing.
    """
    found = [_code(posterior, quantizer, tables, rate_weight) for tables in TABLES]
    return (
        min(found, key=lambda coding: coding.objectives[0]),
        min(found, key=lambda coding: coding.objectives[1]),
    )


def _code(posterior: Posterior, quantizer: str, tables: str, rate_weight: float) -> Coding:
    matrices, scales, decoded = TABLES[tables](posterior, QUANTIZERS[quantizer], rate_weight)
    side_bits = PARAMETER_BITS * (len(matrices) + scales)
    counts = [np.unique(matrix.symbols, return_counts=True)[1] for matrix in matrices]
    return Coding(
        quantizer=quantizer,
        tables=tables,
        rate_weight=rate_weight,
        bits=(sum(map(total_bits, matrices)) + side_bits) / posterior.size,
        symbol_bits=sum(map(entropy_bits, counts)) / posterior.size,
        distortion=posterior.distortion(decoded),
        decoded=decoded,
    )


Coded = tuple[list[QuantizedMatrix], int, tuple[Float32Array, ...]]
"""Quantized matrices, how many scales of channels there are, and the blocks decoded."""


def _together(posterior: Posterior, quantizer: Quantizer, rate_weight: float) -> Coded:
    ones = [np.ones(block.shape[1], np.float32) for block in posterior.means]
    matrix, decoded = _one_matrix(posterior, quantizer, rate_weight, ones)
    return [matrix], 0, decoded


def _scaled(posterior: Posterior, quantizer: Quantizer, rate_weight: float) -> Coded:
    scales = [_deviations(block) for block in posterior.means]
    matrix, decoded = _one_matrix(posterior, quantizer, rate_weight, scales)
    return [matrix], sum(scale.size for scale in scales), decoded


def _apart(posterior: Posterior, quantizer: Quantizer, rate_weight: float) -> Coded:
    blocks = [
        quantize_latents(means, variances, rate_weight, quantizer)
        for means, variances in zip(posterior.means, posterior.variances, strict=True)
    ]
    decoded = tuple(np.hstack([channel.values() for channel in block]) for block in blocks)
    return [channel for block in blocks for channel in block], 0, decoded


TABLES: dict[str, Callable[[Posterior, Quantizer, float], Coded]] = {
    "one": _together,
    "one, channels scaled": _scaled,
    "one a channel": _apart,
}
"""Forms of step, codebook and frequency table: one of them for all numbers; one, with channels
divided by their standard deviation; one for each channel."""


def _one_matrix(
    posterior: Posterior, quantizer: Quantizer, rate_weight: float, scales: list[Float32Array]
) -> tuple[QuantizedMatrix, tuple[Float32Array, ...]]:
    """Quantize all blocks, divided by the scales float32 [L] of their channels, as one row."""
    blocks = list(zip(posterior.means, posterior.variances, scales, strict=True))
    means = np.concatenate([(m / scale).ravel() for m, _, scale in blocks])
    precisions = np.concatenate(
        [(np.square(scale, dtype=float) / v).ravel() for _, v, scale in blocks]
    )
    matrix = quantizer(means[None], precisions[None], rate_weight)
    ends = np.cumsum([m.size for m in posterior.means])[:-1]
    parts = np.split(matrix.values()[0], ends)
    decoded = (
        part.reshape(m.shape) * scale for part, (m, _, scale) in zip(parts, blocks, strict=True)
    )
    return matrix, tuple(decoded)


def _deviations(block: npt.NDArray[np.float32]) -> Float32Array:
    """Standard deviations of the channels as bfloat16 numbers, 1 where there is none."""
    deviations = to_bfloat16(block.std(0, dtype=np.float64))
    return np.where(deviations > 0, deviations, np.float32(1))
