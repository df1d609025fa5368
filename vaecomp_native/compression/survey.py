"""One look at all of large weights, a group at a time: what one operating point for all depends on.

Samples stay, the weights do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vaecomp_native.compression.choice import Estimates, NotTried, obstacles_by
from vaecomp_native.compression.estimates import index_bytes, lossless_bytes
from vaecomp_native.compression.groups import (
    OperatingPoint,
    group_encoder,
    groups_of,
    read_groups,
)
from vaecomp_native.compression.options import EXACT, Codec
from vaecomp_native.compression.prediction import MAX_FACTOR, SizePredictor
from vaecomp_native.compression.request import Request
from vaecomp_native.compression.search import mean_cost, rate_weight_near
from vaecomp_native.errors import UnreachableError
from vaecomp_native.quantization.bunch import SMALL

MAX_SAMPLED = 1 << 24
"""The most elements of large tensors that samples hold."""
MAX_SMALL = 1 << 23
"""The same of small tensors."""
SIZE_MARGIN = 0.005
"""The share of a maximum size that is left free, because sizes are predicted."""
OVERSHOOT = 1.5
"""How much more than what was too much is asked for less the next time."""
RATIO_BYTES = 1 << 26
"""The bytes of weights whose estimated size stands for that of all, without loss."""


class Survey:
    """The sizes that weights would take, and what losing them would cost."""

    def __init__(self, request: Request, done: Callable[[], None]) -> None:
        """Look at all weights; `done` is called after each group."""
        sizes = [form.size for form in request.state.forms.values()]
        small = sum(size for size in sizes if size <= SMALL)
        self._predictor = SizePredictor(
            request.threads,
            factor=max(MAX_FACTOR, -(-sum(sizes) // MAX_SAMPLED)),
            stride=max(1, -(-small // MAX_SMALL)),
        )
        self._request = request
        self.estimates = Estimates()
        costs, counts, self.parameters = [np.zeros(0)], [np.zeros(0, np.int64)], 0
        for group in read_groups(request, groups_of(request, request.state.names)):
            encoder = group_encoder(group)
            costs += [one.costs(encoder.arrays) for one in encoder.operators]
            counts += [one.sizes for one in encoder.operators]
            self.parameters += encoder.parameters
            self._predictor.add(encoder)
            self.estimates = self.estimates.plus(Estimates.of(group))
            del group, encoder
            done()
        self.unit = mean_cost(np.concatenate(costs), np.concatenate(counts))

    def obstacles(self) -> dict[Codec, NotTried]:
        """The codecs that "auto" would not try, and why."""
        return obstacles_by(self.estimates, self._request.state.names, self._request.target)

    def point(self) -> OperatingPoint:
        """The quantized codec's operating point for the request's target."""
        target = self._request.target
        if target.rate_weight is not None:
            rate_weight = target.rate_weight * self.unit
            return self._point(rate_weight, self._predictor.bits(rate_weight))
        if target.file_bytes is not None:
            goal = target.file_bytes
            return self.point_at(8 * max((1 - SIZE_MARGIN) * goal - self._fixed, goal / 16))
        assert target.weight_bits is not None
        return self.point_at(target.weight_bits * self.parameters)

    def point_at(self, bits: float) -> OperatingPoint:
        """The operating point at which the quantized tensors take about `bits` in all."""
        found = rate_weight_near(self.parameters, self.unit, bits, self._predictor.bits)
        return self._point(*found)

    def smaller_point(self, point: OperatingPoint, excess: int) -> OperatingPoint:
        """One that takes at least `excess` bytes less. Raises UnreachableError if there is none."""
        bits = point.bits - OVERSHOOT * 8 * excess
        if bits <= 0:
            size = self._fixed + math.ceil(point.bits / 8)
            raise UnreachableError(
                f"no archive of {self._request.target.file_bytes:,} bytes was found; the smallest "
                f"tried has about {size:,}: ask for more bytes or bits_per_weight"
            )
        return self.point_at(bits)

    @property
    def _fixed(self) -> int:
        """About the bytes that do not change with the rate weight."""
        return self.estimates.exact + index_bytes(self._request.state.names)

    def _point(self, rate_weight: float, bits: float) -> OperatingPoint:
        size = self._fixed + math.ceil(bits / 8)
        return OperatingPoint("quantized", size, rate_weight, self.unit, bits)


def exact_point(request: Request, codec: Codec) -> OperatingPoint:
    """The operating point of a codec without loss."""
    assert codec in EXACT
    forms = request.state.forms
    size = sum(form.nbytes for form in forms.values())
    if codec == "raw" or not size:
        return OperatingPoint(codec, size)
    # Tensors from all over the model, up to a size.
    stride, chosen, total = max(1, math.isqrt(len(forms))), [], 0
    names = [name for start in range(stride) for name in list(forms)[start::stride]]
    for name in names:
        if total + forms[name].nbytes <= RATIO_BYTES:
            chosen.append(name)
            total += forms[name].nbytes
    if not total:
        return OperatingPoint(codec, size)
    sample = replace(request, state=request.state.only(chosen))
    return OperatingPoint(codec, size * lossless_bytes(sample.state.arrays) // total)
