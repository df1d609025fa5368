"""Networks and data: parameter counts, where digits come from, training by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.networks import mnist
from experiments.networks.classifiers import LAYERS, LENET5_PARAMETERS, NETWORKS, PARAMETERS, build
from experiments.networks.training import default_epochs, train_network
from vaecomp_native.demo.digits import MnistData, load_bundled
from vaecomp_native.errors import VaecompError


@pytest.fixture(scope="module")
def bundled() -> MnistData:
    return load_bundled(seed=0)


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
    bundled: MnistData,
) -> None:
    assert list(PARAMETERS) == ["fnn", "cnn", "rnn", "lstm"]
    for name in NETWORKS:
        assert LAYERS[name]
        for full in (False, True):
            assert default_epochs(name, replace(bundled, full=full)) > 0


def test_an_unknown_network_is_refused_with_the_known_names() -> None:
    with pytest.raises(ValueError, match=r"'vgg'.*fnn, cnn, rnn, lstm, lenet5"):
        build("vgg")


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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundled: MnistData
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    data = mnist.load(tmp_path, seed=0)
    assert not data.full
    assert torch.equal(data.test.images, bundled.test.images)
    assert "\n" not in data.notice
    assert str(tmp_path) in data.notice
    assert "4,000 training, 500 validation, 500 test" in data.notice


def test_networks_are_trained_by_their_names(bundled: MnistData) -> None:
    calls: set[tuple[str, int]] = set()
    trained = train_network(
        "fnn",
        bundled,
        epochs=2,
        progress=lambda stage, done, total, metrics: calls.add((stage, total)),
    )
    assert calls == {("training fnn", 62)}
    assert sum(p.numel() for p in trained.model.parameters()) == PARAMETERS["fnn"]
    assert trained.curve[1].validation_accuracy > 60
