"""The accounting of bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaecomp_native.accounting import (
    amortized_ratio,
    break_even_models,
    latents_only_ratio,
    self_contained_ratio,
)

SIZES = st.integers(1, 10**12)


def test_the_self_contained_ratio_counts_the_whole_file() -> None:
    assert self_contained_ratio(400, 100) == 4.0
    assert self_contained_ratio(100, 400) == 0.25


def test_one_model_that_shares_with_nobody_has_the_self_contained_ratio() -> None:
    assert amortized_ratio(1000, shared_bytes=150, own_bytes=50, models=1) == 5.0


def test_more_models_share_the_decoder() -> None:
    assert amortized_ratio(1000, shared_bytes=150, own_bytes=50, models=3) == 10.0


@given(raw=SIZES, shared=SIZES, own=SIZES, models=st.integers(1, 10**6))
def test_sharing_approaches_the_ratio_without_a_decoder(
    raw: int, shared: int, own: int, models: int
) -> None:
    with_more = amortized_ratio(raw, shared, own, models + 1)
    assert amortized_ratio(raw, shared, own, models) <= with_more <= raw / own


@pytest.mark.parametrize(
    ("shared", "own", "alternative", "models"),
    [
        (900, 10, 100, 10),
        (901, 10, 100, 11),
        (899, 10, 100, 10),
        (0, 10, 100, 1),
        (5, 10, 100, 1),
        (900, 100, 100, None),
        (900, 101, 100, None),
        (0, 100, 100, None),
    ],
)
def test_break_even_rounds_up_and_may_not_exist(
    shared: int, own: int, alternative: int, models: int | None
) -> None:
    assert break_even_models(shared, own, alternative) == models


@given(shared=SIZES, own=SIZES, saved=SIZES)
def test_break_even_is_the_first_number_of_models_that_pays(
    shared: int, own: int, saved: int
) -> None:
    alternative = own + saved
    models = break_even_models(shared, own, alternative)
    assert models is not None
    assert shared + models * own <= models * alternative
    fewer = models - 1
    assert fewer == 0 or shared + fewer * own > fewer * alternative


@pytest.mark.parametrize(
    ("parameters", "chunks", "ratio"),
    [(185_300, 91, 31.8), (122_270, 60, 31.8), (54_538, 27, 31.6), (214_282, 105, 31.9)],
)
def test_latents_only_is_parameters_over_latents(
    parameters: int, chunks: int, ratio: float
) -> None:
    assert latents_only_ratio(parameters, chunks * 64) == pytest.approx(ratio, abs=0.05)
