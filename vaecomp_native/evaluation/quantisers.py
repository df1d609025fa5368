"""Quantisers beside each other: bits and distortion of the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypedDict

import numpy.typing as npt

from vaecomp_native.quantisation.ecsq import entropy_constrained_lloyd, entropy_constrained_uniform
from vaecomp_native.quantisation.entropy import distortion, total_bits
from vaecomp_native.quantisation.kmeans import hessian_weighted_kmeans
from vaecomp_native.quantisation.matrix import Float32Array, QuantisedMatrix
from vaecomp_native.quantisation.uniform import uniform
from vaecomp_native.quantisation.vbq import variational_bayesian_quantisation

Quantiser = Callable[[Float32Array, npt.NDArray[Any], float], QuantisedMatrix]

QUANTISERS: dict[str, Quantiser] = {
    "uniform": uniform,
    "ecsq": entropy_constrained_uniform,
    "ecsq-lloyd": entropy_constrained_lloyd,
    "kmeans": hessian_weighted_kmeans,
    "vbq": variational_bayesian_quantisation,
}


class QuantiserPoint(TypedDict):
    """One quantiser at one rate weight."""

    quantiser: str
    rate_weight: float
    bits_per_weight: float
    distortion: float


def compare_quantisers(
    values: Float32Array, importance: npt.NDArray[Any], rate_weights: Iterable[float]
) -> list[QuantiserPoint]:
    """Quantise the same values by every quantiser at every rate weight.

    Args:
        values: float32 [R, C], finite, at least one.
        importance: not negative, finite, broadcasts to [R, C].
        rate_weights: importance * error^2 that is worth one bit.

    Returns:
        For each quantiser and rate weight the bits per weight (entropy of the symbols, and what the
        frequency table and the codebook take) and the distortion, mean importance * error^2.
    """
    return [
        _point(name, quantiser(values, importance, rate_weight), values, importance, rate_weight)
        for rate_weight in rate_weights
        for name, quantiser in QUANTISERS.items()
    ]


def _point(
    name: str,
    matrix: QuantisedMatrix,
    values: Float32Array,
    importance: npt.NDArray[Any],
    rate_weight: float,
) -> QuantiserPoint:
    return {
        "quantiser": name,
        "rate_weight": rate_weight,
        "bits_per_weight": total_bits(matrix) / values.size,
        "distortion": distortion(matrix, values, importance) / values.size,
    }
