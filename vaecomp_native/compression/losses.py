"""What tensors lose: the errors of decoded floats, and those that stay exact all the same."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.compression.options import EXACT, Codec
from vaecomp_native.compression.request import Request
from vaecomp_native.compression.suitability import (
    NOT_FINITE,
    OUT_OF_RANGE,
    OUTLIERS,
    SPECIAL_VALUES,
    delicacies,
)
from vaecomp_native.quantization.batches import batches
from vaecomp_native.quantization.matrix import SLAB_ELEMENTS

Array = npt.NDArray[Any]
TOO_FAR = "values too far apart for the target's steps"
WHY_EXACT = {
    NOT_FINITE: "it holds NaN or infinite values",
    OUTLIERS: "its values are too far apart for the steps of a lossy codec",
    OUT_OF_RANGE: "its values are too large or too small for the steps of a lossy codec",
    TOO_FAR: "its values are too far apart for the steps of a lossy codec at this target",
}
"""The text of a warning, by the reason for which a tensor is exact."""
MAX_WARNINGS = 10
"""The maximum number of warnings of one kind."""


@dataclass(frozen=True)
class Losses:
    """The losses of some tensors, which add up.

    `error` is the squared error of decoded float tensors, and `energy` the sum of their own
    squares. Tensors with NaN, infinities, outliers or values out of range do not count. Nor does
    anything if nothing is lossy. `kept_exact` names, by reason, the float tensors that a lossy
    codec kept bit for bit because of their values.
    """

    error: float = 0.0
    energy: float = 0.0
    kept_exact: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        request: Request,
        codec: Codec,
        lossy: Container[str],
        decoded: Mapping[str, Array],
        too_far: Container[str],
    ) -> Losses:
        """Measure tensors that a codec made `decoded` of.

        Those in `lossy` are not exact. Those in `too_far` have values too far apart for the steps.
        """
        if codec in EXACT:
            return cls()
        error, energy = _squares(request.floats, decoded)
        return cls(error, energy, _kept_exact(request, lossy, too_far))

    @property
    def relative_error(self) -> float:
        """The squared error over the squares, 0 without loss."""
        return self.error / self.energy if self.energy else 0.0

    def plus(self, other: Losses) -> Losses:
        """The losses of both."""
        kept = {reason: list(names) for reason, names in self.kept_exact.items()}
        for reason, names in other.kept_exact.items():
            kept.setdefault(reason, []).extend(names)
        return Losses(self.error + other.error, self.energy + other.energy, kept)

    def warnings(self) -> Iterator[str]:
        """Yield a line for each tensor that its owner may not expect to be exact."""
        for reason, why in WHY_EXACT.items():
            names = self.kept_exact.get(reason, ())
            for name in names[:MAX_WARNINGS]:
                yield f"tensor '{name}' is stored without loss: {why}"
            if len(names) > MAX_WARNINGS:
                more = len(names) - MAX_WARNINGS
                yield (
                    f"{more:,} more tensors are stored without loss: {why}; kept_exact of the "
                    "report names them"
                )


def _kept_exact(
    request: Request, lossy: Container[str], too_far: Container[str]
) -> dict[str, list[str]]:
    reasons = (
        delicacies(request.floats)
        | {name: why for name, why in request.unsuitable.items() if why in SPECIAL_VALUES}
        | {name: TOO_FAR for name in request.floats if name in too_far}
    )
    found: dict[str, list[str]] = {}
    for name in request.state.names:
        if name in reasons and name not in lossy:
            found.setdefault(reasons[name], []).append(name)
    return found


def _squares(originals: Mapping[str, Array], decoded: Mapping[str, Array]) -> tuple[float, float]:
    """The squared error of decoded float tensors, and the squares of the original ones."""
    energy = error = 0.0
    for names in batches({name: array.size for name, array in originals.items()}):
        before = [originals[name].ravel() for name in names]
        after = [decoded[name].ravel() for name in names]
        for original, found in _slabs(before, after):
            energy += float(np.square(original).sum())
            error += float(np.square(found - original).sum())
    return error, energy


def _slabs(*tensors: Sequence[Array]) -> Iterator[tuple[Array, ...]]:
    """Yield flat tensors one behind another, or parts of a large one, as float64."""
    for start in range(0, max(one.size for one in tensors[0]), SLAB_ELEMENTS):
        yield tuple(
            np.concatenate([one[start : start + SLAB_ELEMENTS] for one in group], dtype=np.float64)
            for group in tensors
        )
