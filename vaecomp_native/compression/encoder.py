"""From a rate weight to quantized tensors: operator after operator, in order of execution."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.compression.bunched import BunchedOperator, QuantizedBunch
from vaecomp_native.compression.operators import Operator
from vaecomp_native.io.scratch import Scratch
from vaecomp_native.progress import Progress, silent
from vaecomp_native.quantization.bunch import decoded_values
from vaecomp_native.quantization.entropy import total_bits
from vaecomp_native.quantization.feedback import DAMPING, Curvature, OutOfRangeError
from vaecomp_native.quantization.matrix import QuantizedMatrix

if TYPE_CHECKING:
    from vaecomp_native.calibration.maps import LinearMap
    from vaecomp_native.compression.trial_model import TrialModel

Array = npt.NDArray[Any]
Float32Array = npt.NDArray[np.float32]
AnyOperator = Operator | BunchedOperator

RIDGE = 0.01
"""Keeps corrections near the original weights, relative to the mean energy of the inputs."""
RECURRENT_STRENGTH = 0.5
"""Of corrections to recurrent operators: their inputs change again with their own weights."""


@dataclass(frozen=True)
class Encoding:
    """Quantized tensors by name, and the names of those whose values no step can hold, with their bits.

    `bunches` are small tensors that were quantized together, the others are `apart`.
    """

    apart: Mapping[str, QuantizedMatrix]
    unquantizable: frozenset[str]
    exact_bits: int = 0
    bunches: Sequence[QuantizedBunch] = ()

    @cached_property
    def matrices(self) -> Mapping[str, QuantizedMatrix]:
        """All quantized tensors."""
        found = dict(self.apart)
        for bunch in self.bunches:
            found.update(bunch)
        return found

    @property
    def ideal_bits(self) -> float:
        """Entropy of the symbols and what decodes them: close to what the file takes."""
        bits = self.exact_bits + sum(bunch.bits for bunch in self.bunches)
        return sum(map(total_bits, self.apart.values()), float(bits))


@dataclass(frozen=True)
class Encoder:
    """Quantizes operators at a rate weight.

    With a `model`, each operator's decoded weights replace the original ones in the module before the next one's turn. With `correct`,
    an operator is first refitted so that its outputs on the inputs that it now gets are those that the original gave on
    the original inputs: W' = W E[x x'^T] E[x' x'^T]^-1 with inputs x before and x' now (Li et al. 2025, arXiv 2504.02692).
    `damping` is that of the inputs' second moments then. `predicted` is what decoders make of tensors without any symbols: symbols tell
    what is left. `scratch` holds the symbols.
    """

    operators: Sequence[AnyOperator]
    arrays: Mapping[str, Array]
    quantizer: str
    threads: int
    model: TrialModel | None = None
    maps: Mapping[str, LinearMap] | None = None
    damping: float = DAMPING
    predicted: Mapping[str, Array] = field(default_factory=dict)
    scratch: Scratch = field(default_factory=Scratch)

    @property
    def parameters(self) -> int:
        """Elements of all tensors that are quantized."""
        return sum(self.arrays[name].size for one in self.operators for name in one.tensors)

    def encode(
        self, rate_weight: float, *, correct: bool = False, progress: Progress = silent
    ) -> Encoding:
        """One pass over all operators."""
        apart: dict[str, QuantizedMatrix] = {}
        bunches: list[QuantizedBunch] = []
        unquantizable: set[str] = set()
        if self.model is not None:
            self.model.replace(self.arrays)
        for number, operator in enumerate(self.operators):
            found: Mapping[str, QuantizedMatrix]
            try:
                found = self.quantize(operator, rate_weight, correct=correct)
            except OutOfRangeError:
                found = {}
            unquantizable |= set(operator.tensors) - found.keys()
            if isinstance(found, QuantizedBunch):
                bunches.append(found.kept_in(self.scratch))
            else:
                apart |= {name: one.kept_in(self.scratch) for name, one in found.items()}
            if self.model is not None:
                self.model.replace(self.decoded(found))
            progress("quantizing", number + 1, len(self.operators), {})
        exact_bits = sum(8 * self.arrays[name].nbytes for name in unquantizable)
        return Encoding(apart, frozenset(unquantizable), exact_bits, bunches)

    def quantize(
        self, operator: AnyOperator, rate_weight: float, *, correct: bool = False
    ) -> Mapping[str, QuantizedMatrix]:
        """Quantized matrices of one operator's tensors. Raises OutOfRangeError."""
        matrix = operator.matrix(self.arrays)
        if correct and isinstance(operator, Operator):
            operator, matrix = self._corrected(operator, matrix)
        if self.predicted:
            matrix = matrix - operator.matrix(self.predicted)
        return operator.quantize(matrix, rate_weight, self.quantizer, self.threads)

    def decoded(self, matrices: Mapping[str, QuantizedMatrix]) -> dict[str, Array]:
        """What the archive gives back for quantized tensors, in the shapes and dtypes of `arrays`."""
        result = {}
        for name, decoded in decoded_values(matrices):
            array, values = self.arrays[name], decoded.reshape(self.arrays[name].shape)
            if name in self.predicted:
                values = self.predicted[name] + values
            result[name] = values.astype(array.dtype)
        return result

    def quantize_instead(
        self, arrays: Mapping[str, Array], rate_weight: float
    ) -> tuple[dict[str, QuantizedMatrix], list[str]]:
        """Quantize other arrays as if they were the operators' own tensors, operators without them left out.

        The second result names the operators some of whose values no step can hold.
        """
        matrices: dict[str, QuantizedMatrix] = {}
        out_of_range: list[str] = []
        for whole in self.operators:
            operator = whole.within(arrays)
            if operator is None:
                continue
            matrix = operator.matrix(arrays)
            try:
                found = operator.quantize(matrix, rate_weight, self.quantizer, self.threads)
            except OutOfRangeError:
                out_of_range.append(operator.name)
                continue
            matrices.update(found)
            out_of_range += [name for name in operator.tensors if name not in found]
        return matrices, out_of_range

    def _corrected(self, operator: Operator, matrix: Float32Array) -> tuple[Operator, Float32Array]:
        linear_map = (self.maps or {}).get(operator.name)
        if self.model is None or linear_map is None or linear_map.groups > 1:
            return operator, matrix
        moments = self.model.moments(linear_map)
        if moments is None:
            return operator, matrix
        now, cross = moments
        ridge = np.eye(len(now)) * max(RIDGE * float(np.diagonal(now).mean()), 1e-30)
        refitted = np.linalg.solve(now + ridge, (matrix @ (cross + ridge)).T).T
        strength = RECURRENT_STRENGTH if len(operator.weights) > 1 else 1.0
        curvature = Curvature.of(now, bool(operator.biases), self.damping)
        target = matrix + strength * (refitted - matrix)
        return dataclasses.replace(operator, curvature=curvature), target.astype(np.float32)
