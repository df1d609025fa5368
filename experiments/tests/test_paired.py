"""Losses of accuracy when the same samples are classed before and after."""

from __future__ import annotations

import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from experiments.measures.paired import PairedLoss, paired_loss

CLASSES = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=50
)


@given(samples=CLASSES)
def test_the_paired_loss_is_the_mean_of_the_differences_and_its_error(
    samples: list[tuple[int, int, int]],
) -> None:
    before, after, labels = torch.tensor(samples).T
    differences = [100 * (int(b == y) - int(a == y)) for b, a, y in samples]
    loss = paired_loss(before, after, labels)
    assert loss.points == pytest.approx(statistics.fmean(differences))
    error = statistics.pstdev(differences) / len(samples) ** 0.5
    assert loss.standard_error == pytest.approx(error, abs=1e-5)
    assert paired_loss(before, before, labels) == PairedLoss(0.0, 0.0)


def test_an_allowed_loss_leaves_room_for_its_error() -> None:
    assert PairedLoss(0.25, 0.125).within(0.5)
    assert not PairedLoss(0.25, 0.16).within(0.5)
    assert PairedLoss(-1.0, 0.5).within(0.2)
