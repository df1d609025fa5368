"""How much accuracy a change costs, when both models classify the same samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

STANDARD_ERRORS = 1.645
"""95 % of a normal distribution lie below so many standard deviations above its mean."""


@dataclass(frozen=True)
class PairedLoss:
    """Accuracy lost and the standard error of that difference, both in percentage points."""

    points: float
    standard_error: float

    def within(self, allowed: float) -> bool:
        """Whether the loss is at most ``allowed`` points with a confidence of 95 % (one-sided)."""
        return self.points + STANDARD_ERRORS * self.standard_error <= allowed


def paired_loss(before: torch.Tensor, after: torch.Tensor, labels: torch.Tensor) -> PairedLoss:
    """Loss of accuracy from predictions ``before`` to predictions ``after``.

    All are classes int64 [N], N > 0. Only samples on which one of the two is right and the other
    wrong count (McNemar's pairs), so that the error is far below that of either accuracy: with a
    share l of samples lost and g gained, the loss is l - g and its variance l + g - (l - g)^2
    over N.
    """
    right_before, right_after = before == labels, after == labels
    lost = int((right_before & ~right_after).sum())
    gained = int((~right_before & right_after).sum())
    count = len(labels)
    variance = ((lost + gained) / count - ((lost - gained) / count) ** 2) / count
    return PairedLoss(100.0 * (lost - gained) / count, 100.0 * math.sqrt(max(variance, 0.0)))
