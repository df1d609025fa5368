"""NaN, infinities and other special values come back bit for bit, whatever the codec."""

from __future__ import annotations

import itertools
import math
import warnings
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import vaecomp_native as vc
from python_tests.samples import FLOAT_DTYPES
from vaecomp_native import reference

VAE = vc.VaeConfig(epochs=4, latent=4, chunk_length=64)
LATENT = (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)


def normal(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(FLOAT_DTYPES), st.sampled_from(["lossless", "raw"]))
def test_exact_codecs_keep_every_bit_pattern(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, dtype: np.dtype, codec: str
) -> None:
    """Payloads of NaN, signs of zero, subnormals and infinities among them."""
    shape = data.draw(st.lists(st.integers(0, 6), max_size=3))
    size = math.prod(shape) * dtype.itemsize
    bits = data.draw(st.binary(min_size=size, max_size=size))
    array = np.frombuffer(bits, np.uint8).view(dtype).reshape(shape)
    path = tmp_path_factory.mktemp("bits") / "x.vaec"
    report = vc.compress({"x": array}, path, codec=codec)
    assert report.relative_error == 0
    for decoded in (vc.decode(path), reference.decode(path.read_bytes())):
        assert decoded["x"].tobytes() == array.tobytes()
        assert (decoded["x"].dtype, decoded["x"].shape) == (array.dtype, array.shape)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("codec", "dtype"),
    [
        *itertools.product(("auto", "quantized", "vae"), LATENT),
        ("vae+residual", np.float32),  # which takes no other dtype
    ],
    ids=lambda value: value if isinstance(value, str) else np.dtype(value).name,
)
def test_lossy_codecs_keep_a_tensor_that_is_not_finite(
    codec: str, dtype: Any, bad: float, tmp_path: Path
) -> None:
    weights = {
        "fine": normal(30, 40, dtype=dtype),
        "layer.bad": normal(8, 8, dtype=dtype),
        "vector": np.array([0, bad, -0.0], dtype),
        "scalar": np.array(bad, dtype),
    }
    weights["layer.bad"][2, 3] = bad
    with pytest.warns(UserWarning, match="NaN or infinite") as caught:
        report = vc.compress(weights, tmp_path / "w.vaec", codec=codec, vae=VAE)
    assert [str(one.message).split("'")[1] for one in caught] == ["layer.bad", "vector", "scalar"]
    assert report.kept_exact == {"NaN or infinite values": ["layer.bad", "vector", "scalar"]}
    assert math.isfinite(report.relative_error) and report.relative_error > 0
    decoded = vc.decode(tmp_path / "w.vaec")
    for name in ("layer.bad", "vector", "scalar"):
        assert decoded[name].tobytes() == weights[name].tobytes()
    assert np.isfinite(decoded["fine"].astype(np.float32)).all()
    reasons = {one.name: one.reason for one in vc.plan(weights, codec=codec).tensors}
    assert reasons["layer.bad"] == reasons["scalar"] == "NaN or infinite values"


def test_nothing_is_warned_of_where_every_tensor_is_exact_anyway(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = vc.compress(
            {"x": np.full((3, 3), math.inf)}, tmp_path / "x.vaec", codec="lossless"
        )
    assert report.kept_exact == {}


def test_the_report_lists_every_reason(tmp_path: Path) -> None:
    weights = {
        "nan": np.array([[1, math.nan]], np.float32),
        "outlier": normal(20, 40),
        "huge": normal(4, 4) * np.float32(1e30),
        "gain": np.linspace(0.5, 1, 9, dtype=np.float32),
        "zeros": np.zeros(5, np.float32),
        "ids": np.arange(7),
        "fine": normal(20, 20),
    }
    weights["outlier"][1, 2] = 1e7
    with pytest.warns(UserWarning, match="stored without loss"):
        report = vc.compress(weights, tmp_path / "w.vaec", codec="quantized")
    assert report.to_dict()["kept_exact"] == {
        "NaN or infinite values": ["nan"],
        "outliers": ["outlier"],
        "values out of range": ["huge"],
        "one sign": ["gain"],
        "one value": ["zeros"],
    }


def test_many_such_tensors_are_warned_of_in_a_few_lines(tmp_path: Path) -> None:
    weights = {f"mask{i}": np.array([0, -math.inf], np.float32) for i in range(200)}
    with pytest.warns(UserWarning, match="stored without loss") as caught:
        report = vc.compress(weights, tmp_path / "w.vaec", codec="quantized")
    assert len(caught) < 20
    assert "190 more tensors" in str(caught[-1].message)
    assert report.kept_exact["NaN or infinite values"] == list(weights)


def test_the_error_does_not_hide_behind_large_numbers_that_are_kept(tmp_path: Path) -> None:
    weights = {"fine": normal(30, 40), "masked_bias": np.full((4, 4), -1e30, np.float32)}
    alone = vc.compress({"fine": weights["fine"]}, tmp_path / "a", codec="quantized")
    with pytest.warns(UserWarning, match="masked_bias"):
        both = vc.compress(weights, tmp_path / "b", codec="quantized")
    assert both.relative_error == pytest.approx(alone.relative_error)


class Masked(torch.nn.Module):
    """Attention with its causal mask of -inf as a buffer, and a layer that no output depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.query = torch.nn.Linear(48, 48)
        self.spare = torch.nn.Linear(48, 5)
        self.out = torch.nn.Linear(48, 7)
        self.register_buffer("mask", torch.full((6, 6), -math.inf).triu(1))
        with torch.no_grad():
            self.spare.weight[1, 2] = math.nan

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.spare(inputs)
        scores = 0.1 * self.query(inputs) @ inputs.transpose(1, 2) + self.mask
        return self.out(scores.softmax(2) @ inputs)


@pytest.fixture
def masked() -> Masked:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Masked()


@pytest.fixture
def batches() -> list[torch.Tensor]:
    return list(torch.randn(5, 8, 6, 48, generator=torch.Generator().manual_seed(0)))


@pytest.mark.filterwarnings("ignore:calibration never uses spare")
@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("codec", ["auto", "quantized"])
def test_a_module_with_a_causal_mask_compresses(
    codec: str, calibrated: bool, masked: Masked, batches: list[torch.Tensor], tmp_path: Path
) -> None:
    options = {"rate_weight": 1e-3, **({"calibration": batches} if calibrated else {})}
    plan = {one.name: one for one in vc.plan(masked, codec=codec, **options).tensors}
    assert plan["mask"].description == "exact (NaN or infinite values)"
    assert plan["query.weight"].treatment == "quantized"
    with pytest.warns(UserWarning, match="stored without loss: it holds NaN"):
        report = vc.compress(masked, tmp_path / "m.vaec", codec=codec, **options)
    assert set(report.kept_exact["NaN or infinite values"]) == {"mask", "spare.weight"}
    fresh = Masked()
    vc.load_into(fresh, tmp_path / "m.vaec")
    before, after = masked(batches[0]), fresh(batches[0])
    assert torch.equal(fresh.mask, masked.mask)
    assert torch.allclose(before, after, atol=0.3) and not torch.equal(before, after)


def test_outputs_that_are_not_finite_still_stop_calibration(
    masked: Masked, batches: list[torch.Tensor], tmp_path: Path
) -> None:
    with torch.no_grad():
        masked.out.weight[0, 0] = math.nan
    with pytest.raises(vc.CalibrationError, match="not finite"):
        vc.compress(masked, tmp_path / "m.vaec", calibration=batches)
    assert list(tmp_path.iterdir()) == []
