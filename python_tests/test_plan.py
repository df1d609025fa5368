"""`plan` says what `compress` then does."""

from __future__ import annotations

import json
import math
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import vaecomp_native as vc

VAE = vc.VaeConfig(epochs=3, latent=8, chunk_length=64)


class Model(torch.nn.Module):
    """A tensor of every treatment."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(20, 12)
        self.lstm = torch.nn.LSTM(12, 10, batch_first=True)
        self.norm = torch.nn.LayerNorm(10)
        self.fc = torch.nn.Linear(10, 12)
        self.head = torch.nn.Linear(12, 20, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("steps", torch.tensor(3))
        self.register_buffer("mask", torch.tensor([[True, False]]))
        self.register_buffer("empty", torch.zeros(0, 4))
        self.register_buffer("shift", torch.linspace(-1, 1, 30).view(3, 10))
        with torch.no_grad():
            self.fc.weight[2, 3] = 1e9

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden, _ = self.lstm(self.embedding(tokens))
        return self.head(1e-9 * self.fc(self.norm(hidden + self.shift[0])))


@pytest.fixture
def module() -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Model()


@pytest.fixture
def batches() -> list[torch.Tensor]:
    return list(torch.randint(0, 20, (6, 4, 7), generator=torch.Generator().manual_seed(0)))


ARCHIVED = {"latent": {"latent"}, "quantized": {"quantized"}, "alias": {"alias"}}


def agrees(plan: vc.Plan, report: vc.CompressionReport) -> None:
    """Every tensor has become what the plan said."""
    assert [tensor.name for tensor in plan.tensors] == [one.name for one in report.info.tensors]
    for planned, made in zip(plan.tensors, report.info.tensors, strict=True):
        assert made.codec in ARCHIVED.get(planned.treatment, {"raw", "lossless"}), planned
        assert (made.shape, made.dtype) == (planned.shape, planned.dtype)
        if planned.treatment == "alias":
            assert made.alias_of == planned.reason


@pytest.mark.filterwarnings("ignore:tensor 'fc.weight' is stored without loss")
@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("codec", ["quantized", "vae+residual", "lossless", "vae", "raw"])
def test_compress_does_what_was_planned(
    codec: str, calibrated: bool, module: Model, batches: list[torch.Tensor], tmp_path: Path
) -> None:
    calibration = {"calibration": batches} if calibrated else {}
    plan = vc.plan(module, codec=codec, vae=VAE, **calibration)
    assert [(one.codec, one.obstacle) for one in plan.codecs] == [(codec, None)]
    report = vc.compress(module, tmp_path / "m.vaec", codec=codec, vae=VAE, **calibration)
    agrees(plan, report)
    assert plan.parameters == report.info.parameters
    assert plan.raw_bytes == report.info.raw_bytes


@pytest.mark.filterwarnings("ignore:tensor 'fc.weight' is stored without loss")
def test_codecs_compared_are_those_that_were_planned(module: Model, tmp_path: Path) -> None:
    half = {"w": np.ones((30, 40), np.float16) / 3, "b": np.linspace(-1, 1, 9).astype(np.float16)}
    for weights in (module, half):
        plan = vc.plan(weights, bits_per_weight=20)
        report = vc.compress(weights, tmp_path / "m.vaec", bits_per_weight=20)
        made = {report.codec} | {one.codec for one in report.compared if one.bytes is not None}
        assert {one.codec for one in plan.codecs if one.obstacle is None} == made
        notes = {one.codec: one.note for one in report.compared if one.bytes is None}
        assert {one.codec: one.obstacle for one in plan.codecs if one.obstacle} == notes


def test_operators_and_reasons_are_named(module: Model, batches: list[torch.Tensor]) -> None:
    calibrated = {one.name: one for one in vc.plan(module, calibration=batches).tensors}
    free = {one.name: one for one in vc.plan(module).tensors}
    assert {one.operator for name, one in calibrated.items() if "lstm" in name} == {"lstm.l0"}
    expected = {
        "embedding.weight": "quantized as part of operator embedding (calibrated)",
        "lstm.weight_ih_l0": "quantized as part of operator lstm.l0 (calibrated)",
        "lstm.bias_hh_l0": "quantized as part of operator lstm.l0 (calibrated)",
        "fc.weight": "exact (outliers)",
        "fc.bias": "quantized (calibrated)",
        "head.weight": "alias of embedding.weight",
        "norm.weight": "exact (one value)",
        "steps": "exact (integer)",
        "mask": "exact (boolean)",
        "empty": "exact (empty)",
        "shift": "quantized (data-free)",
    }
    assert {name: calibrated[name].description for name in expected} == expected
    assert free["lstm.weight_ih_l0"].description == "quantized (data-free)"
    assert free["head.weight"].bytes == 0
    assert free["shift"].bytes == 120


def test_planning_changes_nothing(
    module: Model, batches: list[torch.Tensor], tmp_path: Path
) -> None:
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    vc.plan(module, calibration=batches, max_loss=1, evaluate=lambda _: pytest.fail("was called"))
    assert all(torch.equal(before[name], now) for name, now in module.state_dict().items())
    assert module.training
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"target_bytes": 700}, 700),
        ({"bits_per_weight": 3}, 3 * 1300 // 8),
        ({"rate_weight": 0.01}, None),
        ({"codec": "lossless"}, None),
        ({"codec": "vae"}, None),
        ({"codec": "raw"}, 1200 * 4 + 100 * 8),
        ({}, 1200 * 5 // 8 + 100 * 8),
    ],
)
def test_the_size_is_estimated_where_the_target_fixes_it(
    options: dict[str, object], size: int | None
) -> None:
    weights = {
        "w": np.random.default_rng(0).standard_normal((30, 40)).astype(np.float32),
        "ids": np.arange(100),
    }
    plan = vc.plan(weights, **options)
    assert plan.estimated_bytes == size
    parsed = json.loads(json.dumps(plan.to_dict(), allow_nan=False))
    assert parsed["estimated_bytes"] == size
    assert parsed["tensors"][1]["description"].startswith("exact (")


def test_targets_are_told(module: Model) -> None:
    options = {"evaluate": lambda _: 1.0, "max_loss": 0.25}
    assert vc.plan(module, **options).target.max_loss == 0.25
    assert vc.plan(module, rate_weight=0.1).target.rate_weight == 0.1
    assert vc.plan(module, target_bytes=77).target.file_bytes == 77
    assert vc.plan(module).target.weight_bits == 5


def test_estimates_are_about_what_compress_makes(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    weights = {
        f"layer{i}": generator.standard_normal((64, 96)).astype(np.float32) for i in range(3)
    }
    plan = vc.plan(weights, codec="quantized")
    report = vc.compress(weights, tmp_path / "w.vaec", codec="quantized")
    assert plan.estimated_bytes == pytest.approx(report.info.bytes["total"], rel=0.03)


@pytest.mark.parametrize(
    ("weights", "options", "error", "message"),
    [
        ({"x": np.array(["text"])}, {}, vc.WeightsError, "'x'"),
        ({}, {"codec": "zip"}, ValueError, "codec is 'zip'"),
        ({}, {"quantizer": "int4"}, ValueError, "quantizer is 'int4'"),
        ({}, {"target_bytes": 3, "max_loss": 1}, ValueError, "give one of them"),
        ({}, {"bits_per_weight": math.nan}, ValueError, "bits_per_weight is nan"),
        ({}, {"calibration": [1]}, ValueError, "give the model as a torch module"),
        (torch.nn.Linear(2, 2), {"calibration": [1]}, vc.CalibrationError, "batch 0"),
        ("absent.safetensors", {}, FileNotFoundError, "absent"),
    ],
)
def test_errors_are_those_of_compress(
    weights: object,
    options: dict[str, object],
    error: type[Exception],
    message: str,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=message):
        vc.plan(weights, **options)
    with pytest.raises(error, match=message):
        vc.compress(weights, tmp_path / "w.vaec", **options)
    assert list(tmp_path.iterdir()) == []


def test_files_are_planned_without_torch_and_writing(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"w": np.eye(9, dtype=ml_dtypes.bfloat16)}, path)
    (tensor,) = vc.plan(path).tensors
    assert (tensor.name, tensor.shape, tensor.dtype) == ("w", (9, 9), "bfloat16")
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
