"""Many small matrices as one: laid one behind another, a few NumPy calls treat them all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.quantization.batches import batches
from vaecomp_native.quantization.matrix import Float32Array, QuantizedMatrix, scales

Array = npt.NDArray[Any]
IntArray = npt.NDArray[np.int64]
SMALL = 1 << 12
"""Most elements of a small matrix: what NumPy's calls cost for themselves shows below that."""


class Bunch:
    """Where the elements of matrices [R, C] lie that follow one another; none of them is empty."""

    def __init__(self, shapes: Sequence[tuple[int, int]]) -> None:
        """Take the matrices' shapes."""
        self.rows, self.columns = np.array(shapes, np.int64).reshape(-1, 2).T
        self.sizes: IntArray = self.rows * self.columns
        self.starts = _starts(self.sizes)

    @cached_property
    def matrix_of_row(self) -> IntArray:
        """The number of each row's matrix [all rows]."""
        return np.repeat(np.arange(len(self.rows)), self.rows)

    @cached_property
    def matrix_of_column(self) -> IntArray:
        """The number of each column's matrix [all columns]."""
        return np.repeat(np.arange(len(self.columns)), self.columns)

    @cached_property
    def row(self) -> IntArray:
        """The row of each element, counted through all matrices."""
        return np.repeat(np.arange(len(self.row_lengths)), self.row_lengths)

    @cached_property
    def column(self) -> IntArray:
        """The column of each element, counted through all matrices."""
        first = self.first_columns[self.matrix_of_row] - self.row_starts
        return np.asarray(np.arange(int(self.sizes.sum())) + np.repeat(first, self.row_lengths))

    @cached_property
    def row_lengths(self) -> IntArray:
        """How many elements each row has."""
        lengths: IntArray = self.columns[self.matrix_of_row]
        return lengths

    @cached_property
    def row_starts(self) -> IntArray:
        """The first element of each row."""
        return _starts(self.row_lengths)

    @cached_property
    def by_column(self) -> IntArray:
        """The elements in the order of their columns."""
        return np.argsort(self.column, kind="stable")

    @cached_property
    def column_starts(self) -> IntArray:
        """Where each column begins in `by_column`."""
        return _starts(self.rows[self.matrix_of_column])

    @cached_property
    def first_rows(self) -> IntArray:
        """The number of each matrix's first row."""
        return _starts(self.rows)

    @cached_property
    def first_columns(self) -> IntArray:
        """The number of each matrix's first column."""
        return _starts(self.columns)

    def split(self, values: Array) -> list[Array]:
        """Views of the matrices [R, C] in their elements, one behind another."""
        shapes = zip(self.rows.tolist(), self.columns.tolist(), strict=True)
        ends = (self.starts + self.sizes).tolist()
        return [
            values[start:end].reshape(shape)
            for start, end, shape in zip(self.starts.tolist(), ends, shapes, strict=True)
        ]


def joined(parts: Sequence[Array], dtype: npt.DTypeLike) -> Array:
    """The elements of arrays one behind another."""
    flat: Array = np.concatenate([one.reshape(-1) for one in parts], dtype=dtype, casting="unsafe")
    return flat


def values_of(matrices: Sequence[QuantizedMatrix]) -> list[Float32Array]:
    """What `QuantizedMatrix.values` gives for each of some matrices."""
    if len(matrices) == 1 or any(one.codebook or not one.symbols.size for one in matrices):
        return [one.values() for one in matrices]
    bunch = Bunch([one.symbols.shape for one in matrices])
    exponents = np.zeros(int(bunch.sizes.sum()), np.int32)
    rows = [one.row_exponents for one in matrices]
    if any(one is not None for one in rows):
        exponents += _along(rows, bunch.rows)[bunch.row]
    columns = [one.column_exponents for one in matrices]
    if any(one is not None for one in columns):
        exponents += _along(columns, bunch.columns)[bunch.column]
    steps = np.repeat(np.array([one.step for one in matrices], np.float32), bunch.sizes)
    symbols = joined([one.symbols for one in matrices], np.float32)
    return bunch.split(symbols * scales(steps, exponents))


def decoded_values(
    matrices: Mapping[str, QuantizedMatrix],
) -> Iterator[tuple[str, Float32Array]]:
    """What quantized tensors decode to, float32 [R, C], those of a bunch at a time."""
    for names in batches({name: one.symbols.size for name, one in matrices.items()}):
        yield from zip(names, values_of([matrices[name] for name in names]), strict=True)


def _along(axes: Sequence[npt.NDArray[np.int8] | None], lengths: IntArray) -> npt.NDArray[np.int8]:
    """The exponents of all rows, or of all columns; zeros where a matrix has none."""
    zeros = np.zeros(int(lengths.max()), np.int8)
    return np.concatenate(
        [
            zeros[:length] if axis is None else axis
            for axis, length in zip(axes, lengths.tolist(), strict=True)
        ]
    )


def _starts(lengths: IntArray) -> IntArray:
    return np.cumsum(lengths) - lengths
