"""Quantization column by column with error feedback (docs/quantization.md)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Symbols = npt.NDArray[np.int32]
Counts = npt.NDArray[np.uint64]


def feedback_quantize(
    values: Float32Array,
    order: npt.NDArray[np.uint32] | None,
    feedback: Float32Array | None,
    curvature: Float32Array,
    row_weights: Float32Array,
    row_scales: Float32Array,
    column_scales: Float32Array,
    rate_weight: float,
    bits: Float32Array,
    first: int,
    row_tables: npt.NDArray[np.uint8],
) -> tuple[Symbols, Counts]:
    """Quantize a matrix to symbols, int32 [R, C], and count each table's symbols, uint64 [T, N].

    Args:
        values: float32 [R, C].
        order: uint32 [C], the columns in the order in which they are quantized; None: as they
            stand. `feedback`, `curvature` and `column_scales` are in this order.
        feedback: float32 [C, C]. Row j gives the shares of column j's error that the columns behind
            it take over. None if columns are independent.
        curvature: float32 [C], the cost of an error in each column.
        row_weights: float32 [R], the cost of an error in each row.
        row_scales: float32 [R]. Its products with `column_scales` are the elements' steps.
        column_scales: float32 [C].
        rate_weight: the cost of a bit.
        bits: float32 [T, N], the bits of symbols `first`, `first + 1`, ... under each table.
        first: at most 0, so that `bits` has an entry for 0.
        row_tables: uint8 [R], the table of each row's elements.
    """
    places = np.arange(values.shape[1]) if order is None else order
    rest = values[:, places]  # the values that are left to quantize
    symbols = np.empty(values.shape, np.int32)
    price = np.float32(rate_weight) * bits
    for j, place in enumerate(places.tolist()):
        scale = row_scales * column_scales[j]
        weight = row_weights * curvature[j] * scale * scale
        symbols[:, place] = choose(rest[:, j] / scale, weight, price[row_tables], first)
        if feedback is not None:
            error = rest[:, j] - symbols[:, place].astype(np.float32) * scale
            rest[:, j + 1 :] -= error[:, None] * feedback[j, j + 1 :]
    counts = np.zeros(bits.shape, np.uint64)
    np.add.at(counts, (row_tables[:, None], symbols - first), 1)
    return symbols, counts


def choose(levels: Float32Array, weight: Float32Array, prices: Float32Array, first: int) -> Symbols:
    """Choose symbols [R]: the nearest one, its neighbour towards zero, or zero.

    The cheapest candidate wins, and the first of several. `levels` are values in steps. `weight` is
    the cost of the square of an error of one step. `prices` [R, N] are the costs of the symbols.
    """
    last = first + prices.shape[1] - 1
    nearest = np.rint(np.clip(levels, np.float32(first), np.float32(last))).astype(np.int32)
    candidates: npt.NDArray[Any] = np.stack(
        [nearest, nearest - np.sign(nearest), np.zeros_like(nearest)], 1
    )
    errors = levels[:, None] - candidates.astype(np.float32)
    costs = weight[:, None] * errors * errors
    costs += np.take_along_axis(prices, candidates - first, 1)
    return np.asarray(np.take_along_axis(candidates, costs.argmin(1)[:, None], 1)[:, 0])
