"""The quantized codec: quantized matrices, entropy-coded under contexts, into a section (format.md, Quantized)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.codecs.sections import EncodedTensors
from vaecomp_native.quantization.batches import batches
from vaecomp_native.quantization.bunch import values_of
from vaecomp_native.quantization.contexts import ContextLevels, fit_contexts
from vaecomp_native.quantization.matrix import QuantizedMatrix

Array = npt.NDArray[Any]
TABLES = (10, 6, 3, 1)
"""Numbers of frequency tables to try: tables cost bytes, and symbols cost more without them."""
FEW_SYMBOLS = 1 << 21
"""With more symbols the most tables win: nothing else is tried."""
FEW_MATRICES = 1 << 10
"""With more of them their own heads take more than any tables."""


def encode_quantized(
    arrays: Mapping[str, Array], matrices: Mapping[str, QuantizedMatrix]
) -> EncodedTensors:
    """Encode a matrix for each array, [shape[0], -1] for rank 2 and up, else [1, -1].

    `decoded` of the result is what the archive gives back.
    """
    section = encode_matrices([matrices[name] for name in arrays])
    return EncodedTensors([("quantized", section)], _Decoded(arrays, matrices))


class _Decoded(Mapping[str, Array]):
    """What the archive gives back, computed when asked for: together the tensors may be large.

    Those that follow one another come fast: small ones are computed together.
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
        # One tensor by itself may be large, and is not kept.
        if len(run) == 1:
            return self._decoded(run)[name]
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
    """A quantized section's bytes: the smallest that any number of tables in `TABLES` gives.

    `base` is 0, or 1 and the index of the latents section to whose output the values are added.
    """
    symbols = sum(matrix.symbols.size for matrix in matrices)
    many = symbols > FEW_SYMBOLS or len(matrices) > FEW_MATRICES
    tried = TABLES[:1] if many else TABLES
    return min((_encode(matrices, tables, base) for tables in tried), key=len)


def _encode(matrices: Sequence[QuantizedMatrix], tables: int, base: int) -> bytes:
    contexts = fit_contexts([matrix.symbols for matrix in matrices], tables)
    rows = [_row(matrix, context) for matrix, context in zip(matrices, contexts, strict=True)]
    return _core.encode_quantized(base, rows, tables)


def _row(matrix: QuantizedMatrix, context: ContextLevels) -> tuple[Any, ...]:
    codebook = matrix.codebook
    return (
        matrix.symbols,
        matrix.step,
        context.level,
        matrix.row_exponents,
        context.rows,
        matrix.column_exponents,
        context.columns,
        None if codebook is None else (codebook.first, codebook.values),
    )
