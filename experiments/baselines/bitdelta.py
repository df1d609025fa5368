"""The codec to compare fleets with: 1-bit differences (BitDelta, Liu et al. 2024, arXiv 2402.10193).

A matrix of a fine-tuned model is its base's plus a scale times the signs of the difference. Scales are the mean magnitude, which
has the least squared error, or distilled: tuned so that the model's logits are the fine-tuned one's again. Vectors are
differences in float16. Two things are done better than published: rows that fine-tuning left alone stay alone, for a bit each,
and signs are entropy-coded where that is smaller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, cycle, islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.func import functional_call

from vaecomp_native import kernels

Array = npt.NDArray[Any]
Float32Array = npt.NDArray[np.float32]

DISTILLATION_STEPS = 200
LEARNING_RATE = 1e-4
"""Adam's, as published."""

PACKED, ENTROPY_CODED = 0, 1


def encode(
    arrays: Mapping[str, Array],
    base: Mapping[str, Array],
    scales: Mapping[str, float] | None = None,
) -> bytes:
    """A member's bytes, without what the base tells: names, shapes and their order.

    ``arrays`` and ``base`` hold the same float tensors, in any order. ``scales`` of the matrices default to `mean_scales`; they and the vectors'
    differences are stored as float16.
    """
    scales = mean_scales(arrays, base) if scales is None else scales
    matrices = {name: _difference(arrays, base, name) for name in _matrices(base)}
    vectors = [_difference(arrays, base, name).ravel() for name in _vectors(base)]
    numbers = np.concatenate([[scales[name] for name in matrices], *vectors]).astype("<f2")
    changed = np.concatenate([_changed(matrix) for matrix in matrices.values()])
    symbols = [
        (matrix[_changed(matrix)].ravel() >= 0).astype(np.int32) for matrix in matrices.values()
    ]
    form, body = _signs(symbols)
    return bytes([form]) + numbers.tobytes() + np.packbits(changed).tobytes() + body


def decode(data: bytes, base: Mapping[str, Array]) -> dict[str, Float32Array]:
    """The arrays float32 that `encode` was given, up to what it loses; ``base`` is the one that it was given."""
    matrices, vectors = _matrices(base), _vectors(base)
    rows = [base[name].shape[0] for name in matrices]
    count = len(matrices) + sum(base[name].size for name in vectors)
    marks_at = 1 + 2 * count
    body_at = marks_at + -(-sum(rows) // 8)
    numbers = np.frombuffer(data, "<f2", count, offset=1).astype(np.float32)
    marks = np.unpackbits(np.frombuffer(data[marks_at:body_at], np.uint8), count=sum(rows))
    changed = dict(zip(matrices, _split(marks.astype(bool), rows), strict=True))
    sizes = [int(changed[name].sum()) * base[name][0].size for name in matrices]
    signs = dict(
        zip(matrices, _split(_symbols(data[0], data[body_at:], sum(sizes)), sizes), strict=True)
    )
    scales = dict(zip(matrices, numbers, strict=False))
    values = dict(
        zip(vectors, _split(numbers[len(matrices) :], [base[v].size for v in vectors]), strict=True)
    )
    result = {name: array.astype(np.float32) for name, array in base.items()}
    for name in matrices:
        shape = (-1, *base[name].shape[1:])
        result[name][changed[name]] += scales[name] * signs[name].reshape(shape)
    for name in vectors:
        result[name] += values[name].reshape(base[name].shape)
    return result


def mean_scales(arrays: Mapping[str, Array], base: Mapping[str, Array]) -> dict[str, float]:
    """The mean magnitude of each matrix's difference, over the rows that have one."""
    scales = {}
    for name in _matrices(base):
        matrix = _difference(arrays, base, name)
        own = np.abs(matrix[_changed(matrix)])
        scales[name] = float(own.mean()) if own.size else 0.0
    return scales


def distilled_scales(
    module: nn.Module,
    arrays: Mapping[str, Array],
    base: Mapping[str, Array],
    batches: Sequence[torch.Tensor],
    *,
    steps: int = DISTILLATION_STEPS,
    learning_rate: float = LEARNING_RATE,
) -> dict[str, float]:
    """Scales with which the module's outputs are closest to those of the fine-tuned one, in the mean square.

    ``module`` is of the network, with any weights, and is not changed; ``arrays`` are its fine-tuned parameters. Adam takes one
    of the ``batches`` of inputs, without labels, a step.
    """
    targets = {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}
    bases = {name: torch.from_numpy(np.asarray(base[name])) for name in arrays}
    signs = {name: _sign_tensor(_difference(arrays, base, name)) for name in _matrices(base)}
    scales = {
        name: torch.tensor(scale, requires_grad=True)
        for name, scale in mean_scales(arrays, base).items()
    }
    with torch.no_grad():
        wanted = [functional_call(module, targets, (batch,)) for batch in batches]
    optimizer = torch.optim.Adam(list(scales.values()), learning_rate)
    for batch, goal in islice(cycle(zip(batches, wanted, strict=True)), steps):
        weights = {name: bases[name] + scales[name] * signs[name] for name in signs}
        optimizer.zero_grad()
        outputs = functional_call(module, targets | weights, (batch,))
        torch.autograd.backward(nn.functional.mse_loss(outputs, goal))
        optimizer.step()
    return {name: float(scale.detach()) for name, scale in scales.items()}


def _matrices(base: Mapping[str, Array]) -> list[str]:
    return [name for name, array in base.items() if array.ndim > 1]


def _vectors(base: Mapping[str, Array]) -> list[str]:
    return [name for name, array in base.items() if array.ndim <= 1]


def _difference(arrays: Mapping[str, Array], base: Mapping[str, Array], name: str) -> Float32Array:
    difference: Float32Array = np.asarray(arrays[name], np.float32) - base[name]
    return difference


def _changed(matrix: Float32Array) -> npt.NDArray[np.bool_]:
    """Which rows [R] of a difference [R, ...] are not all zeros."""
    changed: npt.NDArray[np.bool_] = np.any(matrix.reshape(len(matrix), -1), axis=1)
    return changed


def _sign_tensor(matrix: Float32Array) -> torch.Tensor:
    """1 or -1 for each element of the rows that change, else 0."""
    signs = np.where(matrix >= 0, np.float32(1), np.float32(-1))
    signs[~_changed(matrix)] = 0
    return torch.from_numpy(signs)


def _signs(symbols: Sequence[npt.NDArray[np.int32]]) -> tuple[int, bytes]:
    """The smaller form of signs, 1 for plus and 0 for minus, matrix by matrix."""
    together = np.concatenate(symbols)
    packed = PACKED, np.packbits(together.astype(bool)).tobytes()
    if not together.size:
        return packed
    coded = kernels.encode_symbols(together, [part.size for part in symbols if part.size])
    return min(packed, (ENTROPY_CODED, coded), key=lambda pair: len(pair[1]))


def _symbols(form: int, body: bytes, count: int) -> Float32Array:
    """Signs 1 and -1 of ``count`` elements."""
    symbols: Array = (
        np.unpackbits(np.frombuffer(body, np.uint8), count=count)
        if form == PACKED
        else kernels.decode_symbols(body)
    )
    signs: Float32Array = 2 * symbols.astype(np.float32) - 1
    return signs


def _split(values: Array, sizes: Iterable[int]) -> Iterator[Array]:
    start = 0
    for end in accumulate(sizes):
        yield values[start:end]
        start = end
