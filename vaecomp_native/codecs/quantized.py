"""The quantized codec: quantized matrices into an entropy-coded section (format.md, Quantized)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.codecs.sections import EncodedTensors
from vaecomp_native.quantization.batches import batches
from vaecomp_native.quantization.bunch import values_of
from vaecomp_native.quantization.contexts import ContextFit, ContextLevels, fit_contexts
from vaecomp_native.quantization.matrix import QuantizedMatrix

Array = npt.NDArray[Any]
TABLES = (10, 6, 3, 1)
"""The numbers of frequency tables to try. More tables take bytes but make symbols cheaper."""
FEW_SYMBOLS = 1 << 21
"""The number of symbols above which only the largest number of tables is tried: it wins there."""
FEW_MATRICES = 1 << 10
"""The same for the number of matrices: above it their heads take more than any tables."""


def encode_quantized(
    arrays: Mapping[str, Array], matrices: Mapping[str, QuantizedMatrix]
) -> EncodedTensors:
    """Encode a matrix for each array, [shape[0], -1] for rank 2 and up, else [1, -1].

    `decoded` of the result are the tensors that the archive gives back.
    """
    section = encode_matrices([matrices[name] for name in arrays])
    return EncodedTensors([("quantized", section)], _Decoded(arrays, matrices))


class _Decoded(Mapping[str, Array]):
    """The tensors that the archive gives back, computed when asked for.

    Together they might not fit in memory. Small ones that follow one another are computed together,
    so reading in order is fast.
    """

    def __init__(
        self, arrays: Mapping[str, Array], matrices: Mapping[str, QuantizedMatrix]
    ) -> None:
        self._forms = {name: (array.shape, array.dtype) for name, array in arrays.items()}
        self._matrices = matrices
        runs = list(batches({name: array.size for name, array in arrays.items()}))
        self._runs = {name: run for run in runs for name in run}
        self._latest: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array:
        run = self._runs[name]
        # A tensor by itself may be large, so it is not kept, nor decoded as float32 first.
        if len(run) == 1:
            shape, dtype = self._forms[name]
            return self._matrices[name].values(dtype).reshape(shape)
        latest = self._latest
        if name not in latest:
            self._latest = latest = self._decoded(run)
        return latest[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._forms)

    def __len__(self) -> int:
        return len(self._forms)

    def _decoded(self, run: Sequence[str]) -> dict[str, Array]:
        values = values_of([self._matrices[name] for name in run])
        result = {}
        for name, value in zip(run, values, strict=True):
            shape, dtype = self._forms[name]
            result[name] = value.reshape(shape).astype(dtype, copy=False)
        return result


def encode_matrices(matrices: Sequence[QuantizedMatrix], base: int = 0) -> bytes:
    """Encode a quantized section with the number of `TABLES` that makes it smallest.

    `base` is 0, or 1 plus the index of a latents section: then the values are added to its output.
    """
    tried = tables_to_try(sum(one.symbols.size for one in matrices), len(matrices))
    return min((_encode(matrices, tables, base) for tables in tried), key=len)


def tables_to_try(symbols: int, matrices: int) -> tuple[int, ...]:
    """The numbers of tables that are worth trying for so many symbols and matrices."""
    many = symbols > FEW_SYMBOLS or matrices > FEW_MATRICES
    return TABLES[:1] if many else TABLES


def _encode(matrices: Sequence[QuantizedMatrix], tables: int, base: int) -> bytes:
    return encode_fitted(matrices, fit_contexts([one.symbols for one in matrices], tables), base)


def encode_fitted(matrices: Sequence[QuantizedMatrix], fit: ContextFit, base: int = 0) -> bytes:
    """Encode a quantized section with the levels of a fit of the matrices' symbols."""
    rows = [_row(matrix, levels) for matrix, levels in zip(matrices, fit.levels, strict=True)]
    return _core.encode_quantized(base, rows, len(fit.counts))


def _row(matrix: QuantizedMatrix, levels: ContextLevels) -> tuple[Any, ...]:
    codebook = matrix.codebook
    return (
        matrix.symbols,
        matrix.step,
        levels.level,
        matrix.row_exponents,
        levels.rows,
        matrix.column_exponents,
        levels.columns,
        None if codebook is None else (codebook.first, codebook.values),
    )
