"""The residual codec: quantised matrices, entropy-coded under contexts, into a section (format.md, Residual)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.codecs.sections import EncodedTensors
from vaecomp_native.quantisation.contexts import ContextLevels, fit_contexts
from vaecomp_native.quantisation.matrix import QuantisedMatrix

Array = npt.NDArray[Any]
TABLES = (10, 6, 3, 1)
"""Numbers of frequency tables to try: tables cost bytes, and symbols cost more without them."""
FEW_SYMBOLS = 1 << 21
"""With more symbols the most tables win: nothing else is tried."""


def encode_residual(
    arrays: Mapping[str, Array], matrices: Mapping[str, QuantisedMatrix]
) -> EncodedTensors:
    """Encode a matrix for each array, [shape[0], -1] for rank 2 and up, else [1, -1].

    `decoded` of the result is what the archive gives back.
    """
    section = encode_matrices([matrices[name] for name in arrays])
    return EncodedTensors([("residual", section)], _Decoded(arrays, matrices))


class _Decoded(Mapping[str, Array]):
    """What the archive gives back, each tensor computed when asked for: together they may be large."""

    def __init__(
        self, arrays: Mapping[str, Array], matrices: Mapping[str, QuantisedMatrix]
    ) -> None:
        self._forms = {name: (array.shape, array.dtype) for name, array in arrays.items()}
        self._matrices = matrices

    def __getitem__(self, name: str) -> Array:
        shape, dtype = self._forms[name]
        return self._matrices[name].values().reshape(shape).astype(dtype, copy=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self._forms)

    def __len__(self) -> int:
        return len(self._forms)


def encode_matrices(matrices: Sequence[QuantisedMatrix], base: int = 0) -> bytes:
    """A residual section's bytes: the smallest that any number of tables in `TABLES` gives.

    `base` is 0, or 1 and the index of the latents section to whose output the values are added.
    """
    many = sum(matrix.symbols.size for matrix in matrices) > FEW_SYMBOLS
    tried = TABLES[:1] if many else TABLES
    return min((_encode(matrices, tables, base) for tables in tried), key=len)


def _encode(matrices: Sequence[QuantisedMatrix], tables: int, base: int) -> bytes:
    contexts = fit_contexts([matrix.symbols for matrix in matrices], tables)
    rows = [_row(matrix, context) for matrix, context in zip(matrices, contexts, strict=True)]
    return _core.encode_residual(base, rows, tables)


def _row(matrix: QuantisedMatrix, context: ContextLevels) -> tuple[Any, ...]:
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
