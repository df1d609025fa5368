"""Operators: matrices of tensors that are quantized together, and the cost of their errors."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.compression.suitability import delicacies
from vaecomp_native.quantization.ecsq import (
    entropy_constrained_lloyd,
    entropy_constrained_uniform,
)
from vaecomp_native.quantization.feedback import (
    Curvature,
    QuantizedOperator,
    feedback_quantize,
)
from vaecomp_native.quantization.kmeans import hessian_weighted_kmeans
from vaecomp_native.quantization.matrix import QuantizedMatrix, matrix_shape, slabs
from vaecomp_native.quantization.uniform import uniform
from vaecomp_native.quantization.vbq import variational_bayesian_quantization

Array = npt.NDArray[Any]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Elementwise = Callable[[Float32Array, Float32Array, float], QuantizedMatrix]

ELEMENTWISE: Mapping[str, Elementwise] = {
    "uniform": uniform,
    "ecsq": entropy_constrained_uniform,
    "ecsq-lloyd": entropy_constrained_lloyd,
    "kmeans": hessian_weighted_kmeans,
    "vbq": variational_bayesian_quantization,
}
VECTOR_PRECISION = 256.0
"""The weight of an error in a vector (a bias) relative to one in a matrix, if not calibrated."""

NO_COST = 1e-30
"""The cost of weights that nothing depends on: above zero, because costs have logarithms."""


@dataclass(frozen=True)
class Operator:
    """A matrix float32 [R, C], or [R, C + 1] with a bias, made of tensors of the state dict.

    `weights` name the tensors that lie side by side in its columns. `biases` name those whose sum
    is its last column. Errors cost what `feedback_quantize` says, times `multiplier`, which
    allocation adjusts. `refitted` says whether corrections may change what it is quantized from.
    """

    name: str
    weights: tuple[str, ...]
    biases: tuple[str, ...]
    widths: tuple[int, ...]
    curvature: Curvature
    row_weights: Float64Array
    calibrated: bool
    multiplier: float = 1.0
    refitted: bool = True

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of all its tensors."""
        return self.weights + self.biases

    @property
    def elements(self) -> int:
        """The number of weights in its matrix, without the bias."""
        return len(self.curvature.order) * len(self.row_weights)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Its `elements` as an array [1], like `costs`."""
        return np.array([self.elements])

    def costs(self, arrays: Mapping[str, Array]) -> Float64Array:
        """Its `cost_of_all` as an array [1]."""
        return np.array([cost_of_all(self, arrays)])

    def within(self, names: Container[str]) -> Operator | None:
        """Itself if its tensors are among `names`, else None."""
        return self if self.weights[0] in names else None

    def matrix(self, arrays: Mapping[str, Array]) -> Float32Array:
        """Make its matrix from the arrays of its tensors."""
        rows = len(self.row_weights)
        parts = [
            arrays[name].astype(np.float32, copy=False).reshape(rows, -1) for name in self.weights
        ]
        if self.biases:
            bias = sum(arrays[name].astype(np.float32) for name in self.biases)
            parts.append(np.reshape(bias, (rows, 1)))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, 1)

    def stored_matrix(self, arrays: Mapping[str, Array]) -> Array:
        """Its matrix without a copy, in a single tensor's own dtype; else what `matrix` makes."""
        if len(self.tensors) > 1:
            return self.matrix(arrays)
        return arrays[self.tensors[0]].reshape(len(self.row_weights), -1)

    def quantize(
        self, matrix: Array, rate_weight: float, quantizer: str, threads: int
    ) -> dict[str, QuantizedMatrix]:
        """Quantize the operator's matrix. Gives a quantized matrix for each tensor.

        Raises OutOfRangeError, for "feedback", if a value is too far from zero for its step.
        """
        weight = rate_weight / self.multiplier
        if quantizer == "feedback":
            whole = feedback_quantize(
                matrix, self.curvature, self.row_weights, weight, threads=threads
            )
        else:
            values = matrix.astype(np.float32, copy=False)
            whole = self._quantize_elements(values, weight, ELEMENTWISE[quantizer])
        return self._split(whole)

    def _quantize_elements(
        self, matrix: Float32Array, rate_weight: float, quantize: Elementwise
    ) -> QuantizedOperator:
        """Quantize each element alone, weighted by the diagonal of the second-order form."""
        columns = len(self.curvature.order)
        energy = np.empty(columns)
        energy[self.curvature.order] = self.curvature.energy
        importance = (self.row_weights[:, None] * energy).astype(np.float32)
        weights = quantize(np.ascontiguousarray(matrix[:, :columns]), importance, rate_weight)
        if not self.biases:
            return QuantizedOperator(weights, None)
        rows = self.row_weights[None].astype(np.float32)
        return QuantizedOperator(
            weights, quantize(np.ascontiguousarray(matrix[None, :, columns]), rows, rate_weight)
        )

    def _split(self, whole: QuantizedOperator) -> dict[str, QuantizedMatrix]:
        """Cut out the tensors' matrices. The first bias gets the operator's, the others zeros."""
        parts: dict[str, QuantizedMatrix] = {}
        start = 0
        for name, width in zip(self.weights, self.widths, strict=True):
            parts[name] = whole.weights.columns(start, start + width)
            start += width
        for name in self.biases:
            parts[name] = (
                QuantizedMatrix(np.zeros((1, len(self.row_weights)), np.int16))
                if parts.keys() & set(self.biases) or whole.bias is None
                else whole.bias
            )
        return parts


def by_themselves(arrays: Mapping[str, Array], mapped: Container[str] = ()) -> list[str]:
    """Names of tensors that are operators of their own: neither in `mapped` nor delicate."""
    delicate = delicacies(arrays)
    return [name for name in arrays if name not in mapped and name not in delicate]


def data_free_operator(name: str, array: Array) -> Operator:
    """Make an operator of one tensor without calibration: errors count relative to its rows."""
    matrix = array.reshape(matrix_shape(array.shape))
    squares = np.empty(len(matrix))
    for rows in slabs(matrix.shape):
        values = matrix[rows].astype(np.float32, copy=False)
        squares[rows] = np.einsum("ij,ij->i", values, values, dtype=np.float64)
    energy = squares / matrix_shape(array.shape)[1]
    floor = max(float(energy.mean()) * 1e-3, 1e-30)
    precision = VECTOR_PRECISION if array.ndim < 2 else 1.0
    return plain_operator(
        name, array.shape, precision / np.maximum(energy, floor), calibrated=False
    )


def plain_operator(
    name: str, shape: tuple[int, ...], row_weights: Float64Array, *, calibrated: bool
) -> Operator:
    """Make an operator of one tensor whose columns count alike.

    `row_weights` has an entry for each row of its matrix.
    """
    columns = matrix_shape(shape)[1]
    curvature = Curvature.flat(columns)
    return Operator(name, (name,), (), (columns,), curvature, row_weights, calibrated)


def cost_of_all(operator: Operator, arrays: Mapping[str, Array]) -> float:
    """The mean cost of a weight if all weights of an operator are lost; at least `NO_COST`."""
    columns = len(operator.curvature.order)
    matrix = operator.stored_matrix(arrays)[:, :columns]
    energy = np.empty(columns)
    energy[operator.curvature.order] = operator.curvature.energy
    lost = sum(
        operator.row_weights[rows] @ (np.square(matrix[rows].astype(np.float64)) @ energy)
        for rows in slabs(matrix.shape)
    )
    return max(operator.multiplier * float(lost) / (len(matrix) * columns), NO_COST)
