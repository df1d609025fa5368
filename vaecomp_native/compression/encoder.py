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
from vaecomp_native.compression.rate_control import RateControl
from vaecomp_native.io.scratch import Scratch
from vaecomp_native.progress import Progress, silent
from vaecomp_native.quantization.bunch import decoded_values
from vaecomp_native.quantization.entropy import total_bits
from vaecomp_native.quantization.feedback import (
    Curvature,
    OutOfRangeError,
    typical_energy,
)
from vaecomp_native.quantization.matrix import QuantizedMatrix

if TYPE_CHECKING:
    import torch

    from vaecomp_native.calibration.lockstep import InputMoments
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

    `model` is the module that decoded weights are tried in, and `maps` are its linear maps by their
    operators' names. `predicted` holds values of tensors that a decoder knows already: only the
    differences from them are quantized. `scratch` holds the symbols.
    """

    operators: Sequence[AnyOperator]
    arrays: Mapping[str, Array]
    quantizer: str
    threads: int
    model: TrialModel | None = None
    maps: Mapping[str, LinearMap] | None = None
    predicted: Mapping[str, Array] = field(default_factory=dict)
    scratch: Scratch = field(default_factory=Scratch)

    @property
    def parameters(self) -> int:
        """The number of elements of all tensors of the operators."""
        return sum(self.arrays[name].size for one in self.operators for name in one.tensors)

    def encode(self, rate_weight: float, *, progress: Progress = silent) -> Encoding:
        """Quantize all operators, one after another."""
        parts = _Parts(self)
        if self.model is not None:
            self.model.replace(self.arrays)
        for number, operator in enumerate(self.operators):
            decoded = parts.add(operator, self._quantized(operator, rate_weight))
            if self.model is not None:
                self.model.replace(decoded)
            progress("quantizing", number + 1, len(self.operators), {})
        return parts.encoding()

    def encode_corrected(
        self,
        rate_weight: float,
        dampings: Sequence[float],
        *,
        expected: Mapping[str, float] | None = None,
        progress: Progress = silent,
    ) -> list[Encoding]:
        """Quantize all operators in order of execution, refitted, once with each damping.

        `expected` are bits that operators shall take in all, as `total_bits` counts them. The model
        has its original weights then.
        """
        model, maps = self.model, self.maps or {}
        assert model is not None
        left = {one.name: one for one in self.operators}
        variants: list[dict[str, torch.Tensor]] = [{} for _ in dampings]
        parts = [_Parts(self) for _ in dampings]
        elements = {one.name: one.elements for one in self.operators}
        controls = [RateControl(expected or {}, elements) for _ in dampings]

        def add(name: str, moments: Sequence[InputMoments | None]) -> None:
            operator = left.pop(name)
            for number, seen in enumerate(moments):
                weight = rate_weight * controls[number].factor
                if seen is not None and isinstance(operator, Operator):
                    refitted, matrix = self._refitted(operator, seen, dampings[number])
                    found = self._quantized(refitted, weight, matrix)
                else:
                    found = self._quantized(operator, weight)
                controls[number].add(name, sum(map(total_bits, found.values())))
                decoded = parts[number].add(operator, found)
                variants[number] |= model.tensors(decoded)
            progress("quantizing", len(self.operators) - len(left), len(self.operators), {})

        refitted = [
            one.name
            for one in self.operators
            if isinstance(one, Operator) and one.refitted and one.name in maps
        ]
        unseen = [None for _ in dampings]
        for operator in self.operators:
            if operator.name not in refitted:
                add(operator.name, unseen)
        for linear_map, moments in model.in_lockstep([maps[name] for name in refitted], variants):
            add(linear_map.name, moments)
        for name in list(left):  # no batch comes to them
            add(name, unseen)
        return [one.encoding() for one in parts]

    def quantize(
        self, operator: AnyOperator, rate_weight: float, matrix: Float32Array | None = None
    ) -> Mapping[str, QuantizedMatrix]:
        """Quantize an operator, perhaps from another matrix than its own.

        Gives a matrix for each of its tensors. Raises OutOfRangeError.
        """
        target = self.target(operator, matrix)
        return operator.quantize(target, rate_weight, self.quantizer, self.threads)

    def _quantized(
        self, operator: AnyOperator, rate_weight: float, matrix: Float32Array | None = None
    ) -> Mapping[str, QuantizedMatrix]:
        """The same, without the tensors that cannot be quantized."""
        try:
            return self.quantize(operator, rate_weight, matrix)
        except OutOfRangeError:
            return {}

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

    def _refitted(
        self, operator: Operator, moments: InputMoments, damping: float
    ) -> tuple[Operator, Float32Array]:
        """An operator that sees the inputs of now, and the matrix that suits them best.

        Its outputs on these shall be those of the original operator on the original inputs:
        W' = W E[x x'^T] E[x' x'^T]^-1, with inputs x before and x' now (Li et al. 2025, arXiv
        2504.02692).
        """
        matrix = operator.matrix(self.arrays)
        ridge = max(RIDGE * typical_energy(np.diagonal(moments.now)), 1e-30)
        added = ridge * np.eye(len(moments.now))
        best = np.linalg.solve(moments.now + added, (matrix @ (moments.cross + added)).T).T
        strength = RECURRENT_STRENGTH if len(operator.weights) > 1 else 1.0
        curvature = Curvature.of(moments.now, bool(operator.biases), damping)
        return (
            dataclasses.replace(operator, curvature=curvature),
            (matrix + strength * (best - matrix)).astype(np.float32),
        )


class _Parts:
    """The parts of an encoding, as they are made."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._apart: dict[str, QuantizedMatrix] = {}
        self._bunches: list[QuantizedBunch] = []
        self._unquantizable: set[str] = set()

    def add(self, operator: AnyOperator, found: Mapping[str, QuantizedMatrix]) -> dict[str, Array]:
        """Keep what an operator became. Gives its decoded tensors."""
        self._unquantizable |= set(operator.tensors) - found.keys()
        scratch = self._encoder.scratch
        if isinstance(found, QuantizedBunch):
            self._bunches.append(found.kept_in(scratch))
        else:
            self._apart |= {name: one.kept_in(scratch) for name, one in found.items()}
        return self._encoder.decoded(found)

    def encoding(self) -> Encoding:
        """All of it."""
        arrays = self._encoder.arrays
        exact_bits = sum(8 * arrays[name].nbytes for name in self._unquantizable)
        unquantizable = frozenset(self._unquantizable)
        return Encoding(self._apart, unquantizable, exact_bits, self._bunches)
