"""The cost of a quantized matrix: its bits after entropy coding plus its distortion."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.quantization.matrix import SLAB_ELEMENTS, QuantizedMatrix

_CODEBOOK_HEAD_BITS = 24
_CODEWORD_BITS = 16
_TABLE_HEAD_BITS = 32


def entropy_bits(counts: npt.NDArray[Any]) -> float:
    """Ideal bits of symbols that occur `counts` times each, under their own frequencies."""
    present = counts[counts > 0]
    return float((present * np.log2(present.sum() / present)).sum()) if present.size else 0.0


def table_bits(counts: npt.NDArray[Any]) -> float:
    """Bits of a frequency table in the file, from the first to the last symbol that occurs.

    Frequencies add up to 4,096. Each is a varint of one byte, or two from 128 on.
    """
    present = np.flatnonzero(counts)
    if not present.size:
        return 0.0
    wide = np.count_nonzero(counts[present] * 32 >= counts.sum())
    return float(_TABLE_HEAD_BITS + 8 * (present[-1] - present[0] + 1 + wide))


def codebook_bits(size: int) -> float:
    """Bits of a codebook of `size` numbers."""
    return float(_CODEBOOK_HEAD_BITS + _CODEWORD_BITS * size)


def total_bits(matrix: QuantizedMatrix) -> float:
    """Bits of the symbols, their frequency tables, the codebook and the exponents."""
    streams = (matrix.symbols, matrix.row_exponents, matrix.column_exponents)
    bits = sum(_stream_bits(stream) for stream in streams if stream is not None)
    return bits + (0.0 if matrix.codebook is None else codebook_bits(matrix.codebook.values.size))


def distortion(
    matrix: QuantizedMatrix, values: npt.NDArray[Any], importance: npt.NDArray[Any]
) -> float:
    """Sum of importance * (values - decoded)^2; `importance` broadcasts to `values` [R, C]."""
    errors = values.astype(np.float64) - matrix.values()
    return float((importance.astype(np.float64) * errors**2).sum())


def objective(
    matrix: QuantizedMatrix,
    values: npt.NDArray[Any],
    importance: npt.NDArray[Any],
    rate_weight: float,
) -> float:
    """The sum that every quantizer minimizes: distortion + rate_weight * bits."""
    return distortion(matrix, values, importance) + rate_weight * total_bits(matrix)


def _stream_bits(symbols: npt.NDArray[Any]) -> float:
    flat = symbols.ravel()
    first = int(flat.min())
    counts = np.zeros(int(flat.max()) - first + 1, np.int64)
    for start in range(0, flat.size, SLAB_ELEMENTS):
        part = flat[start : start + SLAB_ELEMENTS].astype(np.int64) - first
        counts += np.bincount(part, minlength=len(counts))
    return entropy_bits(counts) + table_bits(counts)
