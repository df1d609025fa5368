"""`compress` with the residual and lossless codecs: sizes, scores, exact tensors, and what may go wrong."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import vaecomp_native as vc
from vaecomp_native import reference
from vaecomp_native.progress import silent

SAMPLES = 512
CLASSES = 4
LOSSY = ("quantized", "vae+residual", "vae")


@pytest.fixture(scope="module")
def data() -> tuple[torch.Tensor, torch.Tensor]:
    """Points in 12 dimensions and the quadrant of a random plane that they fall into."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(SAMPLES, 12, generator=generator)
    plane = points @ torch.randn(12, 2, generator=generator)
    return points, (plane > 0).long() @ torch.tensor([2, 1])


@pytest.fixture
def module(data: tuple[torch.Tensor, torch.Tensor]) -> torch.nn.Module:
    """A small trained classifier, not in evaluation mode."""
    points, labels = data
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = torch.nn.Sequential(
            torch.nn.Linear(12, 64),
            torch.nn.ReLU(),
            torch.nn.Linear(64, 32),
            torch.nn.BatchNorm1d(32),
            torch.nn.ReLU(),
            torch.nn.Linear(32, CLASSES),
        )
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(points), labels).backward()
        optimizer.step()
    optimizer.zero_grad()
    return net


@pytest.fixture
def batches(data: tuple[torch.Tensor, torch.Tensor]) -> list[torch.Tensor]:
    return list(data[0].split(64))


@pytest.fixture
def evaluate(data: tuple[torch.Tensor, torch.Tensor]) -> Callable[[torch.nn.Module], float]:
    def accuracy(net: torch.nn.Module) -> float:
        was_training = net.training
        net.eval()
        with torch.no_grad():
            right = (net(data[0]).argmax(1) == data[1]).double().mean()
        net.train(was_training)
        return 100 * float(right)

    return accuracy


def normal(*shape: int, seed: int = 0, dtype: object = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    """A model's worth of layers, of different spreads."""
    return {
        "a.weight": normal(48, 64, seed=1) * 0.1,
        "a.bias": normal(48, seed=2) * 0.01,
        "b.weight": normal(24, 8, 3, 3, seed=3),
        "b.gain": np.abs(normal(24, seed=4)) + np.float32(0.1),
    }


def bits_of(module: torch.nn.Module) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in module.state_dict().items()}


@pytest.fixture
def untouched(module: torch.nn.Module) -> Iterator[None]:
    """The module is as it was, bit for bit, when the test is over."""
    before, modes = bits_of(module), [part.training for part in module.modules()]
    flags = [parameter.requires_grad for parameter in module.parameters()]
    yield
    assert bits_of(module) == before
    assert [part.training for part in module.modules()] == modes
    assert [parameter.requires_grad for parameter in module.parameters()] == flags
    assert all(parameter.grad is None for parameter in module.parameters())


def codecs_of(report: vc.CompressionReport) -> dict[str, str]:
    return {tensor.name: tensor.codec for tensor in report.info.tensors}


# Round trips


@pytest.mark.parametrize(
    "quantizer", ["feedback", "uniform", "ecsq", "ecsq-lloyd", "kmeans", "vbq"]
)
def test_every_quantizer_decodes_alike_on_both_paths(
    quantizer: str, weights: dict[str, np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "w.vaec"
    report = vc.compress(weights, path, codec="quantized", quantizer=quantizer, bits_per_weight=5)
    decoded, expected = vc.decode(path), reference.decode(path.read_bytes())
    assert {name: array.tobytes() for name, array in decoded.items()} == {
        name: array.tobytes() for name, array in expected.items()
    }
    assert report.codec == "quantized"
    assert report.relative_error < 0.02
    assert decoded["b.gain"].tobytes() == weights["b.gain"].tobytes()


@pytest.mark.parametrize("codec", ["auto", "quantized", "vae+residual", "lossless", "vae", "raw"])
def test_every_codec_decodes_alike_on_both_paths(
    codec: str, weights: dict[str, np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "w.vaec"
    report = vc.compress(
        weights, path, codec=codec, vae=vc.VaeConfig(epochs=4, latent=8, chunk_length=128)
    )
    decoded, expected = vc.decode(path), reference.decode(path.read_bytes())
    assert list(decoded) == list(weights)
    for name, array in weights.items():
        assert decoded[name].tobytes() == expected[name].tobytes()
        assert decoded[name].shape == array.shape
    assert codec in ("auto", report.codec)
    assert report.info.bytes["total"] == path.stat().st_size
    error = sum(
        np.square(decoded[name].astype(np.float64) - weights[name]).sum() for name in weights
    ) / sum(np.square(array.astype(np.float64)).sum() for array in weights.values())
    assert report.relative_error == pytest.approx(error, rel=1e-9)
    assert (report.relative_error == 0) == (report.codec in ("lossless", "raw"))
    parsed = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert parsed["codec"] == report.codec


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64, ">f4"])
def test_other_float_dtypes_are_quantized(dtype: object, tmp_path: Path) -> None:
    original = normal(40, 50).astype(dtype)
    report = vc.compress({"w": original}, tmp_path / "w.vaec", bits_per_weight=6)
    assert report.codec == "quantized"
    (other,) = report.compared
    assert other.codec == "lossless"
    assert other.bytes is None or other.bytes > report.info.bytes["total"]
    decoded = vc.decode(tmp_path / "w.vaec")["w"]
    assert decoded.dtype == original.dtype.newbyteorder("=")
    assert report.relative_error < 0.01
    np.testing.assert_allclose(decoded.astype(float), original.astype(float), atol=0.2)


@pytest.mark.parametrize("codec", ["auto", "quantized"])
def test_what_is_no_float_comes_back_exactly(codec: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    exact = {
        "int8": generator.integers(-128, 128, (20, 30)).astype(np.int8),
        "uint8": generator.integers(0, 256, 64).astype(np.uint8),
        "int64": generator.integers(-9, 9, (5, 5)),
        "bool": generator.random((7, 9)) > 0.5,
        "float8": normal(6, 6).astype(ml_dtypes.float8_e4m3fn),
        "complex": normal(4, 4).astype(np.complex64),
        "scalar": np.float32(2.5),
        "empty": np.zeros((0, 3), np.float32),
        "variances": np.full(17, 0.25, np.float32),
    }
    weights = {**exact, "w": normal(30, 40)}
    path = tmp_path / "w.vaec"
    report = vc.compress(weights, path, codec=codec)
    codecs = codecs_of(report)
    assert codecs.pop("w") == "quantized"
    assert set(codecs.values()) <= {"lossless", "raw"}
    decoded = vc.decode(path)
    for name, array in exact.items():
        assert decoded[name].tobytes() == np.asarray(array).tobytes()
        assert decoded[name].dtype == np.asarray(array).dtype


def test_quantized_torch_weights_come_back_exactly(tmp_path: Path) -> None:
    symbols = torch.randint(-8, 8, (32, 32), dtype=torch.int8)
    state = {"qweight": symbols, "scales": torch.rand(32, dtype=torch.float16) + 0.1}
    vc.compress(state, tmp_path / "q.vaec")
    decoded = vc.decode(tmp_path / "q.vaec")
    for name, tensor in state.items():
        assert np.array_equal(decoded[name], tensor.numpy())


@pytest.mark.parametrize("codec", ["auto", "quantized", "vae+residual", "lossless"])
@pytest.mark.parametrize(
    "weights",
    [
        {},
        {"scalar": np.float32(2.5)},
        {"empty": np.zeros((0, 2), np.float32)},
        {"gains": np.linspace(1e-6, 1, 90).astype(np.float32)},
        {"ints": np.arange(5), "имя": np.ones((), np.float16)},
    ],
    ids=lambda value: "+".join(value) or "nothing" if isinstance(value, dict) else value,
)
def test_nothing_to_quantize_is_no_error(
    weights: dict[str, np.ndarray], codec: str, tmp_path: Path
) -> None:
    report = vc.compress(weights, tmp_path / "w.vaec", codec=codec)
    decoded = vc.decode(tmp_path / "w.vaec")
    assert report.relative_error == 0
    assert {name: array.tobytes() for name, array in decoded.items()} == {
        name: np.asarray(array).tobytes() for name, array in weights.items()
    }


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((30, 70), np.float32),
        np.full((30, 70), -0.25, np.float32),
        np.eye(40, dtype=np.float32),
        normal(1, 1, 50),
        normal(50, 1),
        normal(3, 5) * np.float32(1e-9),
        normal(30, 5) * np.float32(1e9),
        np.float32([1e-3, -1e-3]),
    ],
    ids=["zeros", "constant", "sparse", "one row", "one column", "tiny", "huge", "two values"],
)
def test_unusual_matrices_keep_their_relative_error(array: np.ndarray, tmp_path: Path) -> None:
    report = vc.compress({"w": array}, tmp_path / "w.vaec", codec="quantized", rate_weight=0.001)
    assert report.relative_error < 0.01
    assert codecs_of(report)["w"] == "quantized"


def test_zeros_leave_the_precision_of_others_alone(tmp_path: Path) -> None:
    one = vc.compress(
        {"w": normal(30, 70)}, tmp_path / "a.vaec", codec="quantized", rate_weight=0.005
    )
    both = vc.compress(
        {"w": normal(30, 70), "lora": np.zeros((300, 70), np.float32)},
        tmp_path / "b.vaec",
        codec="quantized",
        rate_weight=0.005,
    )
    assert both.relative_error == pytest.approx(one.relative_error)


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    tied = torch.nn.Sequential(torch.nn.Embedding(30, 16), torch.nn.Linear(16, 30, bias=False))
    tied[1].weight = tied[0].weight
    report = vc.compress(tied, tmp_path / "tied.vaec", codec="quantized", bits_per_weight=6)
    assert codecs_of(report) == {"0.weight": "quantized", "1.weight": "alias"}
    decoded = vc.decode(tmp_path / "tied.vaec")
    assert decoded["0.weight"] is decoded["1.weight"]


@pytest.mark.parametrize("quantizer", ["feedback", "uniform"])
@pytest.mark.parametrize("outlier", [1e8, 1e30, 5000.0])
def test_matrices_with_outliers_come_back_exactly(
    outlier: float, quantizer: str, tmp_path: Path
) -> None:
    weights = {"fine": normal(20, 40), "odd": normal(20, 40, seed=1) * np.float32(0.01)}
    weights["odd"][3, 5] = outlier
    with pytest.warns(UserWarning, match="tensor 'odd' is stored without loss") as caught:
        vc.compress(weights, tmp_path / "w.vaec", codec="quantized", quantizer=quantizer)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    decoded = vc.decode(tmp_path / "w.vaec")
    assert decoded["odd"].tobytes() == weights["odd"].tobytes()
    np.testing.assert_allclose(decoded["fine"], weights["fine"], atol=0.5)


def test_float64_beyond_float32_and_large_float16_come_back_exactly(tmp_path: Path) -> None:
    weights = {
        "wide": normal(10, 10, dtype=np.float64) * 1e300,
        "full": np.linspace(-65504, 65504, 200).astype(np.float16),
    }
    with pytest.warns(UserWarning, match="stored without loss") as caught:
        report = vc.compress(weights, tmp_path / "w.vaec", codec="quantized")
    assert len(caught) == 2
    assert report.relative_error == 0
    decoded = vc.decode(tmp_path / "w.vaec")
    assert all(decoded[name].tobytes() == weights[name].tobytes() for name in weights)


MATRICES = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6),
    elements=st.floats(-(2.0**60), 2.0**60, width=32),
)


@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from("abcd"), MATRICES, max_size=3), st.floats(1e-4, 1))
@pytest.mark.filterwarnings("ignore:tensor:UserWarning")
def test_arbitrary_weights_decode_to_finite_numbers(
    tmp_path_factory: pytest.TempPathFactory, weights: dict[str, np.ndarray], rate_weight: float
) -> None:
    path = tmp_path_factory.mktemp("any") / "w.vaec"
    report = vc.compress(weights, path, codec="quantized", rate_weight=rate_weight)
    assert math.isfinite(report.relative_error)
    decoded = vc.decode(path)
    assert list(decoded) == list(weights)
    assert all(np.isfinite(array).all() for array in decoded.values())


# Sizes


@pytest.mark.parametrize("bits", [1.0, 3.0, 5.0, 9.0])
def test_bits_per_weight_count_the_whole_file(
    bits: float, weights: dict[str, np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "w.vaec"
    vc.compress(weights, path, codec="quantized", bits_per_weight=bits)
    asked = bits * sum(array.size for array in weights.values()) / 8
    assert 0.98 * asked <= path.stat().st_size <= asked


@pytest.mark.parametrize(
    ("codec", "asked"), [("auto", 4000), ("quantized", 4000), ("vae+residual", 8000)]
)
def test_target_bytes_bound_the_file(
    codec: str, asked: int, weights: dict[str, np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "w.vaec"
    vae = vc.VaeConfig(epochs=30, latent=8, chunk_length=512)
    vc.compress(weights, path, codec=codec, target_bytes=asked, vae=vae)
    assert 0.98 * asked <= path.stat().st_size <= asked


def test_target_bytes_hold_with_calibration(
    module: torch.nn.Module, batches: list[torch.Tensor], untouched: None, tmp_path: Path
) -> None:
    path = tmp_path / "m.vaec"
    report = vc.compress(module, path, codec="quantized", target_bytes=1500, calibration=batches)
    assert 0.98 * 1500 <= path.stat().st_size <= 1500
    assert report.score is None


@pytest.mark.parametrize("bits", [14, 24])
def test_more_bits_than_quantization_takes_lose_nearly_nothing(bits: int, tmp_path: Path) -> None:
    path = tmp_path / "w.vaec"
    report = vc.compress({"w": normal(24, 40)}, path, codec="quantized", bits_per_weight=bits)
    assert path.stat().st_size <= bits * 24 * 40 / 8
    assert report.relative_error < 1e-4


def test_as_many_bits_as_the_weights_have_lose_nothing(tmp_path: Path) -> None:
    report = vc.compress({"w": normal(24, 40)}, tmp_path / "w.vaec", bits_per_weight=40)
    assert report.info.bytes["total"] <= 5 * 24 * 40


def test_without_a_target_exact_tensors_take_nothing_from_the_others(tmp_path: Path) -> None:
    large = np.random.default_rng(0).integers(0, 2**60, 5000)
    report = vc.compress(
        {"w": normal(40, 60), "ids": large}, tmp_path / "w.vaec", codec="quantized"
    )
    assert report.relative_error < 0.005
    alone = vc.compress({"w": normal(40, 60)}, tmp_path / "alone.vaec", codec="quantized")
    assert alone.info.bytes["total"] < 5.7 * 40 * 60 / 8


@pytest.mark.parametrize("calibrated", [False, True])
def test_larger_rate_weights_make_smaller_files(
    calibrated: bool, module: torch.nn.Module, batches: list[torch.Tensor], tmp_path: Path
) -> None:
    reports = [
        vc.compress(
            module,
            tmp_path / "m.vaec",
            codec="quantized",
            rate_weight=rate_weight,
            calibration=batches if calibrated else None,
        )
        for rate_weight in (1e-4, 1e-3, 1e-2, 1e-1, 1)
    ]
    sizes = [report.info.bytes["total"] for report in reports]
    errors = [report.relative_error for report in reports]
    assert sizes == sorted(sizes, reverse=True)
    assert errors == sorted(errors)
    assert [report.rate_weight for report in reports] == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1])


@pytest.mark.parametrize("codec", ["auto", "quantized", "lossless", "raw"])
def test_unreachable_sizes_leave_no_file(
    codec: str,
    module: torch.nn.Module,
    batches: list[torch.Tensor],
    untouched: None,
    tmp_path: Path,
) -> None:
    with pytest.raises(vc.UnreachableError, match=r"50|60"):
        vc.compress(module, tmp_path / "m.vaec", codec=codec, target_bytes=50, calibration=batches)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("codec", ["quantized", "auto"])
def test_unreachable_sizes_say_what_is_kept_exact(codec: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    weights = {
        "weight": random.normal(size=(50, 50)).astype(np.float32),
        "small": np.arange(3),
        "ids": random.integers(0, 2**60, 500),
        "mask": np.ones(9, bool),
        "steps": np.arange(5),
    }
    expected = (
        r"has 4,\d\d\d, of which 3,\d\d\d are tensors kept exact: 'ids', 'steps' and 2 more: ask"
    )
    path, options = tmp_path / "m.vaec", {"codec": codec, "target_bytes": 2000}
    with pytest.raises(vc.UnreachableError, match=expected):
        vc.compress(weights, path, **options)
    two = {name: weights[name] for name in ("weight", "small", "ids")}
    with pytest.raises(vc.UnreachableError, match="kept exact: 'ids' and 'small': ask for more"):
        vc.compress(two, path, **options)
    del two["ids"], two["small"]
    with pytest.raises(vc.UnreachableError, match=r"smallest tried has [\d,]+: ask for more"):
        vc.compress(two, path, **options | {"target_bytes": 20})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["bits_per_weight", "target_bytes", "rate_weight", "max_loss"])
@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_targets_out_of_range_are_named(
    option: str, value: float, module: torch.nn.Module, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"{option} is .*; it must be a finite number"):
        vc.compress(module, tmp_path / "m.vaec", evaluate=lambda _: 1.0, **{option: value})
    assert list(tmp_path.iterdir()) == []


def test_two_targets_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bits_per_weight and rate_weight are given"):
        vc.compress({"w": normal(4, 4)}, tmp_path / "w", bits_per_weight=3, rate_weight=0.1)


# Choosing


def levels(count: int, *shape: int) -> np.ndarray:
    """Weights on a grid of so many levels."""
    return (np.random.default_rng(0).integers(0, count, shape) / 16).astype(np.float32)


CHOICES = {
    "random": {"w": normal(90, 110), "b": normal(40)},
    "sixteen levels": {"w": levels(16, 200, 200)},
    "two levels": {"w": levels(2, 200, 200), "b": normal(40)},
    "sparse": {"w": normal(90, 110) * (normal(90, 110, seed=1) > 2)},
    "half": {"w": normal(90, 110, dtype=np.float16)},
    "many": {f"w{i}": normal(4, 4, seed=i) for i in range(300)},
    "with integers": {"w": normal(30, 40), "ids": np.arange(3000) % 7},
    "tiny": {"w": normal(3, 3)},
    "ones": {"w": np.ones((60, 60), np.float32)},
}


@pytest.mark.parametrize("bits", [2, 5, 9, 40])
@pytest.mark.parametrize("name", CHOICES)
def test_auto_takes_the_smaller_and_lists_the_other(name: str, bits: int, tmp_path: Path) -> None:
    """Estimates may err where both are about as large."""
    made = {}
    for codec in ("auto", "quantized", "lossless"):
        try:
            # Beside the target, the file has an index and heads.
            options = {"target_bytes": bits * sum(w.size for w in CHOICES[name].values()) // 8}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made[codec] = vc.compress(
                    CHOICES[name], tmp_path / "w.vaec", codec=codec, progress=silent, **options
                )
        except vc.UnreachableError:
            continue
    sizes = {codec: report.info.bytes["total"] for codec, report in made.items()}
    found = sizes.pop("auto", None)
    assert (found is None) == (not sizes)
    if found is None:
        return
    report = made["auto"]
    assert found <= min(sizes.values()) * 1.05 + 64
    assert found == sizes[report.codec]
    (other,) = report.compared
    assert {report.codec, other.codec} == {"quantized", "lossless"}
    if other.bytes is not None:
        assert found <= other.bytes == sizes.get(other.codec, other.bytes)
    elif other.codec == "lossless" and other.estimated_bytes is not None:
        alone = vc.compress(CHOICES[name], tmp_path / "alone.vaec", codec="lossless")
        assert other.estimated_bytes == pytest.approx(alone.info.bytes["total"], rel=0.1, abs=100)
        assert f"{other.estimated_bytes:,} bytes" in other.note


def test_auto_trains_nothing(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    stages = set()
    vc.compress(weights, tmp_path / "w.vaec", progress=lambda stage, *_: stages.add(stage))
    assert stages == {"quantizing"}


def test_nothing_is_quantized_for_integers_alone(tmp_path: Path) -> None:
    stages = set()
    report = vc.compress(
        {"ids": np.arange(5000, dtype=np.int16)},
        tmp_path / "w.vaec",
        progress=lambda stage, *_: stages.add(stage),
    )
    assert report.codec == "lossless" and stages == set()
    (other,) = report.compared
    assert (other.codec, other.bytes) == ("quantized", None)
    assert "every tensor is kept exact" in other.note


def test_auto_takes_lossless_where_that_is_smaller(tmp_path: Path) -> None:
    signs = np.sign(normal(64, 64))
    report = vc.compress({"w": signs}, tmp_path / "w.vaec", bits_per_weight=16)
    assert report.info.bytes["total"] < 64 * 64 / 4
    assert np.abs(vc.decode(tmp_path / "w.vaec")["w"] - signs).max() < 0.01


def test_a_decoder_takes_float32_only(tmp_path: Path) -> None:
    with pytest.raises(vc.WeightsError, match="takes float32 weights only"):
        vc.compress(
            {"w": normal(20, 20, dtype=np.float16)}, tmp_path / "w.vaec", codec="vae+residual"
        )
    assert list(tmp_path.iterdir()) == []


# Scores


def test_a_score_is_kept_by_what_the_archive_decodes_to(
    module: torch.nn.Module,
    batches: list[torch.Tensor],
    evaluate: Callable[[torch.nn.Module], float],
    untouched: None,
    tmp_path: Path,
) -> None:
    path = tmp_path / "m.vaec"
    before = evaluate(module)
    assert before > 90
    sizes = {}
    for calibration in (None, batches):
        report = vc.compress(module, path, max_loss=1.0, evaluate=evaluate, calibration=calibration)
        fresh = type(module)(*[type(part)(*shape_of(part)) for part in module])
        vc.load_into(fresh, path)
        assert report.score_original == before
        assert report.score == evaluate(fresh) >= before - 1.0
        assert all(other.score is not None for other in report.compared if other.bytes)
        sizes[calibration is None] = path.stat().st_size
    assert sizes[False] < sum(len(data) for data in bits_of(module).values()) / 5


def shape_of(part: torch.nn.Module) -> tuple[int, ...]:
    if isinstance(part, torch.nn.Linear):
        return part.in_features, part.out_features
    return (part.num_features,) if isinstance(part, torch.nn.BatchNorm1d) else ()


@pytest.mark.parametrize("codec", ["lossless", "raw", "vae"])
def test_other_codecs_are_scored_too(
    codec: str,
    module: torch.nn.Module,
    evaluate: Callable[[torch.nn.Module], float],
    untouched: None,
    tmp_path: Path,
) -> None:
    report = vc.compress(
        module,
        tmp_path / "m.vaec",
        codec=codec,
        evaluate=evaluate,
        vae=vc.VaeConfig(epochs=2, chunk_length=64),
    )
    assert report.score_original == evaluate(module)
    assert report.score is not None
    if codec != "vae":
        assert report.score == report.score_original


def test_a_score_that_cannot_be_kept_is_told_and_leaves_no_file(
    module: torch.nn.Module, untouched: None, tmp_path: Path
) -> None:
    before = bits_of(module)

    def only_the_original(net: torch.nn.Module) -> float:
        return 1.0 if bits_of(net) == before else 0.0

    options = {"max_loss": 0.5, "evaluate": only_the_original}
    calls = iter([1.0])
    with pytest.raises(vc.UnreachableError, match=r"no quantization keeps a score of 0\.5"):
        vc.compress(
            module,
            tmp_path / "m.vaec",
            codec="quantized",
            max_loss=0.5,
            evaluate=lambda _: next(calls, 0.0),
        )
    with pytest.raises(vc.UnreachableError, match="codec 'vae' scores 0"):
        vc.compress(module, tmp_path / "m.vaec", codec="vae", vae=vc.VaeConfig(epochs=2), **options)
    assert list(tmp_path.iterdir()) == []
    report = vc.compress(module, tmp_path / "m.vaec", **options)
    assert report.codec in ("lossless", "quantized")
    assert report.relative_error == 0


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (ZeroDivisionError("no samples"), "evaluate raised ZeroDivisionError: no samples"),
        (math.nan, "evaluate returned nan"),
        (math.inf, "evaluate returned inf"),
        (None, "evaluate raised TypeError"),
    ],
)
@pytest.mark.parametrize("call", [1, 3])
def test_an_evaluate_that_fails_is_told(
    outcome: object,
    message: str,
    call: int,
    module: torch.nn.Module,
    untouched: None,
    tmp_path: Path,
) -> None:
    calls = 0

    def evaluate(_: torch.nn.Module) -> object:
        nonlocal calls
        calls += 1
        if calls < call:
            return 1.0
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with pytest.raises(vc.CalibrationError, match=message):
        vc.compress(module, tmp_path / "m.vaec", codec="quantized", max_loss=0.1, evaluate=evaluate)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", [1, 2, 5])
def test_ctrl_c_in_evaluate_restores_the_module(
    call: int, module: torch.nn.Module, batches: list[torch.Tensor], untouched: None, tmp_path: Path
) -> None:
    calls = 0

    def evaluate(_: torch.nn.Module) -> float:
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt
        return 1.0

    with pytest.raises(KeyboardInterrupt):
        vc.compress(
            module, tmp_path / "m.vaec", max_loss=0.1, evaluate=evaluate, calibration=batches
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stage", ["calibration", "allocating", "quantizing", "searching"])
def test_ctrl_c_at_any_stage_restores_the_module(
    stage: str,
    module: torch.nn.Module,
    batches: list[torch.Tensor],
    untouched: None,
    tmp_path: Path,
) -> None:
    def interrupt(now: str, done: int, total: int, metrics: object) -> None:
        if now == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vc.compress(
            module,
            tmp_path / "m.vaec",
            max_loss=0.1,
            evaluate=lambda _: 1.0,
            calibration=batches,
            progress=interrupt,
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_modules_of_other_dtypes_are_restored(
    dtype: torch.dtype, module: torch.nn.Module, batches: list[torch.Tensor], tmp_path: Path
) -> None:
    module.to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1e-12 * torch.randn(parameter.shape).to(dtype))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    report = vc.compress(
        module,
        tmp_path / "m.vaec",
        codec="quantized",
        rate_weight=0.01,
        calibration=[batch.to(dtype) for batch in batches],
        evaluate=lambda net: net.eval()(batches[0].to(dtype)).square().mean().item(),
    )
    assert all(torch.equal(before[name], now) for name, now in module.state_dict().items())
    assert report.relative_error > 0


# Calibration


def test_calibration_may_be_a_generator(
    module: torch.nn.Module, batches: list[torch.Tensor], untouched: None, tmp_path: Path
) -> None:
    options = {"codec": "quantized", "rate_weight": 0.01}
    vc.compress(module, tmp_path / "a", calibration=batches, **options)
    vc.compress(module, tmp_path / "b", calibration=((one,) for one in batches), **options)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("calibration", "error", "message"),
    [
        ([], vc.CalibrationError, "no calibration batches"),
        ([torch.zeros(4, 5)], vc.CalibrationError, "rejects calibration batch 0"),
        ([torch.zeros(4, 12), "text"], vc.CalibrationError, "calibration batch 1 is of type str"),
        ([torch.full((4, 12), math.nan)], vc.CalibrationError, "batch 0 is not finite"),
        (torch.zeros(4, 12), ValueError, "is one batch; give a list"),
        ({"input": torch.zeros(4, 12)}, ValueError, "is one batch; give a list"),
    ],
    ids=["none", "shape", "type", "nan", "tensor", "mapping"],
)
def test_unusable_calibration_is_told(
    calibration: object,
    error: type[Exception],
    message: str,
    module: torch.nn.Module,
    untouched: None,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=message):
        vc.compress(module, tmp_path / "m.vaec", calibration=calibration)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "option", [{"calibration": [1]}, {"evaluate": float}], ids=["batch", "score"]
)
def test_calibration_needs_the_module(
    option: dict[str, object], module: torch.nn.Module, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="give the model as a torch module"):
        vc.compress(module.state_dict(), tmp_path / "m.vaec", **option)


def test_max_loss_needs_evaluate(module: torch.nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="max_loss needs evaluate"):
        vc.compress(module, tmp_path / "m.vaec", max_loss=1)


@pytest.mark.parametrize("unused", ["never runs", "gets zeros"])
def test_layers_that_calibration_does_not_use_are_named(
    unused: str, batches: list[torch.Tensor], tmp_path: Path
) -> None:
    class Partial(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used = torch.nn.Linear(12, 8)
            self.spare = torch.nn.Linear(12, 200)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            outputs = self.used(inputs)
            return outputs if unused == "never runs" else outputs + self.spare(0 * inputs).sum()

    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Partial()
    with pytest.warns(UserWarning, match=r"calibration never uses .*spare\.weight"):
        vc.compress(
            module,
            tmp_path / "m.vaec",
            codec="quantized",
            bits_per_weight=8,
            calibration=vc.Calibration(batches, divergence="kl"),
        )
    decoded = vc.decode(tmp_path / "m.vaec")
    spare = module.spare.weight.detach().numpy()
    assert np.square(decoded["spare.weight"] - spare).sum() < 0.1 * np.square(spare).sum()


def test_calibration_of_zeros_alone_is_survived(module: torch.nn.Module, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"calibration never uses 0\.weight"):
        vc.compress(
            module, tmp_path / "m.vaec", codec="quantized", calibration=[torch.zeros(8, 12)]
        )
    unused = module[0].weight.detach().numpy()
    error = np.square(vc.decode(tmp_path / "m.vaec")["0.weight"] - unused).sum()
    assert error < 0.05 * np.square(unused).sum()


def test_calibrated_files_lose_less_at_equal_size(
    module: torch.nn.Module, batches: list[torch.Tensor], tmp_path: Path
) -> None:
    def divergence(path: Path) -> float:
        arrays = {name: torch.tensor(array) for name, array in vc.decode(path).items()}
        points = torch.cat(batches)
        module.eval()
        with torch.no_grad():
            original = module(points).log_softmax(1)
            now = torch.func.functional_call(module, arrays, points).log_softmax(1)
        return float(torch.nn.functional.kl_div(now, original, log_target=True, reduction="sum"))

    options = {"codec": "quantized", "target_bytes": 1500}
    vc.compress(module, tmp_path / "free", **options)
    vc.compress(module, tmp_path / "calibrated", calibration=batches, **options)
    assert divergence(tmp_path / "calibrated") < 0.7 * divergence(tmp_path / "free")


# The rest


@pytest.mark.parametrize("codec", LOSSY)
def test_progress_is_reported(codec: str, weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    stages: dict[str, list[int]] = {}

    def record(stage: str, done: int, total: int, metrics: object) -> None:
        assert 0 <= done <= total
        stages.setdefault(stage, []).append(done)

    vc.compress(
        weights,
        tmp_path / "w",
        codec=codec,
        vae=vc.VaeConfig(epochs=5, latent=4, chunk_length=256),
        progress=record,
    )
    assert ("quantizing" in stages) == (codec != "vae")
    assert ("train" in " ".join(stages)) == ("vae" in codec)
    assert all(max(done) > 0 for done in stages.values())


def test_equal_calls_write_equal_files(
    module: torch.nn.Module, batches: list[torch.Tensor], tmp_path: Path
) -> None:
    for path, threads in ((tmp_path / "a", 1), (tmp_path / "b", 3)):
        vc.compress(
            module, path, codec="quantized", bits_per_weight=6, calibration=batches, threads=threads
        )
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
