"""What members have beyond a base: one bit a weight, updates of nncodec, and modules of differences."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import nn

from experiments.baselines import bitdelta, nncodec
from experiments.baselines.differences import differences_module
from experiments.networks import personal
from experiments.networks.classifiers import build

with_nncodec = pytest.mark.skipif(not nncodec.installed(), reason="nncodec is not installed")

Arrays = dict[str, np.ndarray]


@pytest.fixture
def pair() -> tuple[Arrays, Arrays]:
    """A model and its base; one row of the matrix is the same in both."""
    generator = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape, np.float32)

    base = {"weight": normal(60, 50), "bias": normal(60), "kernel": normal(4, 3, 3, 3)}
    arrays = {name: array + 0.05 * normal(*array.shape) for name, array in base.items()}
    arrays["weight"][7] = base["weight"][7]
    return arrays, base


def test_one_bit_differences_are_a_scale_times_signs(pair: tuple[Arrays, Arrays]) -> None:
    arrays, base = pair
    data = bitdelta.encode(arrays, base)
    decoded = bitdelta.decode(data, base)
    assert list(decoded) == list(base)
    for name in ("weight", "kernel"):
        difference = arrays[name] - base[name]
        changed = difference != 0
        scale = np.abs(difference[changed]).mean()
        expected = np.where(changed, scale * np.sign(difference), 0)
        assert np.allclose(decoded[name] - base[name], expected, rtol=1e-2, atol=1e-6)
    assert np.array_equal(decoded["weight"][7], base["weight"][7])
    assert np.allclose(decoded["bias"], arrays["bias"], atol=1e-4)
    # One byte, two scales and a vector of two bytes each, a bit a row and a bit a sign.
    assert len(data) == 1 + 2 * (2 + 60) + 8 + -(-(59 * 50 + 108) // 8)


def test_signs_that_are_mostly_the_same_take_less_than_a_bit(pair: tuple[Arrays, Arrays]) -> None:
    arrays, base = pair
    arrays = {**arrays, "weight": base["weight"] + np.float32(0.03)}
    arrays["weight"][3, 4] -= np.float32(0.06)
    data = bitdelta.encode(arrays, base)
    assert len(data) < 1 + 2 * 62 + 8 + 3108 // 8
    assert np.allclose(bitdelta.decode(data, base)["weight"], arrays["weight"], atol=1e-4)


def test_a_model_without_any_difference_has_no_signs(pair: tuple[Arrays, Arrays]) -> None:
    _, base = pair
    decoded = bitdelta.decode(bitdelta.encode(base, base), base)
    assert all(np.array_equal(decoded[name], base[name]) for name in base)


def test_distilled_scales_bring_the_outputs_closer() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(20, 40), nn.ReLU(), nn.Linear(40, 10))
        # Only half of the inputs are ever used, and only their weights differ much: what the mean
        # over all weights says is too little for them.
        used = torch.arange(20) < 10
        batches = list(torch.randn(8, 64, 20) * used)
        tuned = {name: t.clone() for name, t in module.state_dict().items()}
        signs = torch.randn(40, 20).sign()
        tuned["0.weight"] += signs * torch.where(used, 0.1, 0.01)
        tuned["2.weight"] += 0.01 * torch.randn(10, 40).sign()
    base = {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}
    arrays = {name: tensor.numpy() for name, tensor in tuned.items()}

    def error(scales: Mapping[str, float]) -> float:
        decoded = bitdelta.decode(bitdelta.encode(arrays, base, scales), base)
        weights = {name: torch.from_numpy(array) for name, array in decoded.items()}
        call = torch.func.functional_call
        return sum(
            float((call(module, weights, (b,)) - call(module, tuned, (b,))).square().mean())
            for b in batches
        )

    mean = bitdelta.mean_scales(arrays, base)
    distilled = bitdelta.distilled_scales(module, arrays, base, batches, learning_rate=1e-3)
    assert distilled.keys() == mean.keys()
    assert error(distilled) < 0.5 * error(mean)
    assert all(np.array_equal(module.state_dict()[name], array) for name, array in base.items())


@with_nncodec
def test_an_update_gives_back_the_model_within_its_step(pair: tuple[Arrays, Arrays]) -> None:
    arrays, base = pair
    arrays["kernel"] = base["kernel"].copy()
    stream = nncodec.encode_update(arrays, base, -32)
    decoded = nncodec.decode_update(stream, base)
    assert list(decoded) == list(base)
    assert all(np.abs(decoded[name] - arrays[name]).max() <= 2.0**-7 for name in base)
    assert np.array_equal(decoded["kernel"], base["kernel"])
    assert len(stream) < len(nncodec.encode(arrays, -32))
    assert len(nncodec.encode_update(arrays, base, -20)) < len(stream)


def test_a_module_of_differences_computes_the_same() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        base = build("cnn").state_dict()
    under = personal.build_with(base)
    member = personal.build_with({name: 1.1 * tensor + 0.01 for name, tensor in base.items()})
    module = differences_module(member, under)
    images = torch.randn(4, 28, 28, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(module(images), member(images), atol=1e-5)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, member.state_dict()[name] - under.state_dict()[name])
    assert list(module.state_dict()) == list(member.state_dict())
    recurrent = build("rnn")
    with pytest.raises(ValueError, match="weight_ih_l0"):
        differences_module(recurrent, recurrent)
