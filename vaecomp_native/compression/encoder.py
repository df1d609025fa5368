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
"""The pull of corrections towards the original weights, relative to the inputs' energy."""
RECURRENT_STRENGTH = 0.5
"""The share of a correction that recurrent operators get: it changes their own inputs again."""


@dataclass(frozen=True)
class Encoding:
    """Quantized tensors by name, and the names of those that cannot be quantized.

    `bunches` are small tensors that were quantized together; the others are `apart`.
    `unquantizable` tensors have a value that no step can hold. As they are, they take `exact_bits`.
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
        """Bits of the symbols' entropy and of their tables: close to the size of the file."""
        bits = self.exact_bits + sum(bunch.bits for bunch in self.bunches)
        return sum(map(total_bits, self.apart.values()), float(bits))


@dataclass(frozen=True)
class Encoder:
    """Quantizes operators at a rate weight.

    With a `model`, each operator's decoded weights replace the original ones in the module before
    the next operator's turn. With `correct`, an operator is first refitted: its outputs on the
    inputs that it gets now shall be those of the original operator on the original inputs. So
    W' = W E[x x'^T] E[x' x'^T]^-1, with inputs x before and x' now (Li et al. 2025, arXiv
    2504.02692). Then `damping` regularizes the second moments of the inputs. `predicted` holds
    values of tensors that a decoder knows already: only the differences from them are quantized.
    `scratch` holds the symbols.
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
        """The number of elements of all tensors of the operators."""
        return sum(self.arrays[name].size for one in self.operators for name in one.tensors)

    def encode(
        self, rate_weight: float, *, correct: bool = False, progress: Progress = silent
    ) -> Encoding:
        """Quantize all operators in one pass."""
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
        """Quantize one operator. Gives a matrix for each of its tensors. Raises OutOfRangeError."""
        corrected: Float32Array | None = None
        if correct and isinstance(operator, Operator) and operator.refitted:
            operator, corrected = self._corrected(operator, operator.matrix(self.arrays))
        matrix = self.target(operator, corrected)
        return operator.quantize(matrix, rate_weight, self.quantizer, self.threads)

    def target(self, operator: AnyOperator, matrix: Float32Array | None = None) -> Array:
        """What is quantized of an operator's matrix: all that `predicted` does not say."""
        if matrix is None and not self.predicted and isinstance(operator, Operator):
            return operator.stored_matrix(self.arrays)
        whole = operator.matrix(self.arrays) if matrix is None else matrix
        return whole - operator.matrix(self.predicted) if self.predicted else whole

    def decoded(self, matrices: Mapping[str, QuantizedMatrix]) -> dict[str, Array]:
        """Decode quantized tensors to the shapes and dtypes of `arrays`, as the archive will."""
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
        """Quantize other arrays as if they were the operators' own tensors.

        Operators without a tensor in `arrays` are left out. The second result names the operators
        and tensors with a value that no step can hold.
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
