from __future__ import annotations

import functools
import inspect
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save_file

import vaecomp_native as vc
from vaecomp_native import reference

VAE = vc.VaeConfig(epochs=8, latent=8, chunk_length=64)
QUICK: dict[str, Any] = {"codec": "vae", "vae": VAE}


class Tied(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(30, 16)
        self.norm = torch.nn.BatchNorm1d(16)
        self.head = torch.nn.Linear(16, 30, bias=False)
        self.head.weight = self.embedding.weight
        self.narrow = torch.nn.Parameter(torch.randn(40, 5, dtype=torch.bfloat16))
        self.register_buffer("mask", torch.tensor([True, False, True]))
        self.register_buffer("nothing", torch.zeros(0, 4))


@pytest.fixture(scope="module")
def module() -> Tied:
    torch.manual_seed(0)
    return Tied()


@pytest.mark.parametrize("decoder", ["compact", "paper", "float32"])
def test_every_decoder_makes_an_archive_that_both_paths_decode_alike(
    module: Tied, decoder: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.vaec"
    report = vc.compress(module, path, codec="vae", vae=replace(VAE, decoder=decoder))
    decoded = vc.decode(path)
    expected = reference.decode(path.read_bytes())
    assert {name: array.tobytes() for name, array in decoded.items()} == {
        name: array.tobytes() for name, array in expected.items()
    }
    state = module.state_dict()
    assert list(decoded) == list(state)
    assert decoded["head.weight"] is decoded["embedding.weight"]
    assert decoded["narrow"].dtype == ml_dtypes.bfloat16
    for name in ("mask", "nothing", "norm.num_batches_tracked"):
        assert np.array_equal(decoded[name], state[name].numpy())
    assert report.info.bytes["total"] == path.stat().st_size
    assert len(report.history) <= 8
    json.dumps(report.to_dict())


def test_seeded_runs_write_the_same_file(module: Tied, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.vaec", "b.vaec", "c.vaec")]
    for path, seed in zip(files, (1, 1, 2), strict=True):
        vc.compress(module, path, codec="vae", vae=replace(VAE, decoder="paper", seed=seed))
    first, second, other = (path.read_bytes() for path in files)
    assert first == second
    assert first != other


def test_too_many_chunks_are_warned_of_and_their_error_is_told(tmp_path: Path) -> None:
    weights = {"w": np.random.default_rng(0).standard_normal((520, 8)).astype(np.float32)}
    config = replace(VAE, chunk_length=8, latent=2, epochs=2)
    with pytest.warns(UserWarning, match="520 chunks are more than the decoder's 512"):
        report = vc.compress(weights, tmp_path / "w.vaec", codec="vae", vae=config)
    decoded = vc.decode(tmp_path / "w.vaec")["w"]
    error = np.square(decoded.astype(np.float64) - weights["w"]).sum()
    assert report.relative_error == pytest.approx(error / np.square(weights["w"]).sum(), rel=1e-5)


def test_latents_only_ratio_is_the_papers_count(tmp_path: Path) -> None:
    weights = {"w": np.random.default_rng(0).standard_normal((40, 64)).astype(np.float32)}
    info = vc.compress(weights, tmp_path / "w.vaec", **QUICK).info
    assert info.chunks == 40
    assert info.ratio_latents_only == 40 * 64 / (40 * 8)


@pytest.mark.parametrize(
    "weights",
    [
        {},
        {"empty": np.zeros((0, 2), np.float32)},
        {"scalar": np.float32(2.5)},
        {"zeros": np.zeros((3, 70), np.float32)},
        {"constant": np.full(100, 0.25, np.float64)},
        {"constant matrix": np.full((4, 50), -0.25, np.float64)},
        {"gains": np.linspace(1e-6, 1, 90).astype(np.float32)},
        {"ints": np.arange(5), "flags": np.array([True, False]), "имя": np.ones((), np.float16)},
    ],
    ids=lambda weights: "+".join(weights) or "nothing",
)
def test_unusual_state_dicts_round_trip(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "model.vaec"
    vc.compress(weights, path, **QUICK)
    decoded = vc.decode(path)
    assert list(decoded) == list(weights)
    for name, value in weights.items():
        assert decoded[name].dtype == np.asarray(value).dtype
        np.testing.assert_allclose(decoded[name], value, atol=0.05)


NUMBERS = hnp.boolean_dtypes() | hnp.integer_dtypes() | hnp.floating_dtypes(sizes=(16, 32, 64))
ARRAYS = hnp.arrays(NUMBERS | hnp.complex_number_dtypes(), hnp.array_shapes(min_dims=0, min_side=0))


@given(st.dictionaries(st.text(max_size=20), ARRAYS, max_size=5))
def test_raw_codec_changes_no_bit(tmp_path_factory, weights: dict[str, np.ndarray]) -> None:
    path = tmp_path_factory.mktemp("raw") / "model.vaec"
    try:
        vc.compress(weights, path, codec="raw")
    except ValueError as error:
        assert any(0xD800 <= ord(letter) <= 0xDFFF for name in weights for letter in name), error
        return
    for decoded in (vc.decode(path), reference.decode(path.read_bytes())):
        assert list(decoded) == list(weights)
        for name, array in weights.items():
            native = array.astype(array.dtype.newbyteorder("="))
            assert decoded[name].dtype == native.dtype
            assert decoded[name].tobytes() == native.tobytes()


def test_gains_and_variances_come_back_exactly(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    weights = {
        "linear.weight": generator.standard_normal((30, 64)).astype(np.float32),
        "norm.weight": generator.random(64).astype(np.float32) + 1e-6,
        "norm.running_var": np.full(64, 3.0, np.float32),
        "negative": -generator.random(64).astype(np.float16) - np.float16(0.1),
    }
    info = vc.compress(weights, tmp_path / "model.vaec", **QUICK).info
    decoded = vc.decode(tmp_path / "model.vaec")
    codecs = {tensor.name: tensor.codec for tensor in info.tensors}
    assert codecs.pop("linear.weight") == "latent"
    for name in codecs:
        assert codecs[name] in ("raw", "lossless")
        assert decoded[name].tobytes() == weights[name].tobytes()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"x": np.array(["text"])}, "'x'"),
        ({"x": object()}, "'x'"),
        ({"x": torch.zeros(2, device="meta")}, "'x'"),
        ({1: np.zeros(2)}, "names must be strings"),
        (3.5, "give a mapping"),
        ("https://example.com/model.safetensors", "download"),
    ],
)
def test_weights_of_other_kinds_are_refused(weights, message: str, tmp_path: Path) -> None:
    with pytest.raises(vc.WeightsError, match=message):
        vc.compress(weights, tmp_path / "model.vaec", **QUICK)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [{"codec": "zip"}, {"quantizer": "huge"}, {"rate_weight": 0.0}, {"threads": -1}],
    ids=lambda options: next(iter(options)),
)
def test_options_out_of_range_are_named(options: dict[str, object], tmp_path: Path) -> None:
    weights = {"w": np.arange(9, dtype=np.float32)}
    for call in (vc.plan, functools.partial(vc.compress, out=tmp_path / "w.vaec")):
        with pytest.raises(ValueError, match=next(iter(options))):
            call(weights, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [{"decoder": "huge"}, {"latent": 0}, {"chunk_length": 0}, {"epochs": 0}, {"seed": -1}],
    ids=lambda options: next(iter(options)),
)
def test_options_of_the_latent_codec_out_of_range_are_named(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        vc.VaeConfig(**options)


def test_options_that_there_are_none_of_are_named_with_those_that_there_are(
    tmp_path: Path,
) -> None:
    weights = {"w": np.arange(9, dtype=np.float32)}
    for call in (vc.plan, functools.partial(vc.compress, out=tmp_path / "w.vaec")):
        with pytest.raises(TypeError, match=r"'latnt'; choose from key, codec, .*vae, threads"):
            call(weights, latnt=3)
        with pytest.raises(TypeError, match="give a VaeConfig"):
            call(weights, vae={"latent": 3})
    assert list(tmp_path.iterdir()) == []


def test_help_shows_every_option_of_compress_and_plan() -> None:
    names = list(inspect.signature(vc.compress).parameters)
    assert names[:4] == ["weights", "out", "progress", "max_shard_bytes"]
    assert len(names) <= 15
    assert names[4:] == list(inspect.signature(vc.plan).parameters)[1:]
    assert all(f"        {name}: " in (vc.compress.__doc__ or "") for name in names)


def test_safetensors_files_and_shards_are_read(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    arrays = {f"layer.{i}": generator.integers(-9, 9, (3, i + 1)) for i in range(4)}
    arrays["half"] = np.ones((2, 2), ml_dtypes.bfloat16)
    single = tmp_path / "one" / "model.safetensors"
    sharded = tmp_path / "many"
    single.parent.mkdir()
    sharded.mkdir()
    save_file(arrays, single, metadata={"format": "np"})
    shards = {name: f"model-{i % 2}.safetensors" for i, name in enumerate(arrays)}
    for shard in set(shards.values()):
        save_file({n: a for n, a in arrays.items() if shards[n] == shard}, sharded / shard)
    index = sharded / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    for source in (single, str(single), single.parent, index, sharded):
        vc.compress(source, tmp_path / "out.vaec", codec="raw")
        decoded = vc.decode(tmp_path / "out.vaec")
        assert set(decoded) == set(arrays)
        for name, array in arrays.items():
            assert decoded[name].tobytes() == array.tobytes()
    vc.compress(single, tmp_path / "out.vaec", codec="raw")
    assert vc.verify(tmp_path / "out.vaec").metadata == {"format": "np"}


def test_broken_safetensors_sources_are_named(tmp_path: Path) -> None:
    out = tmp_path / "out.vaec"
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nonsense")
    with pytest.raises(vc.WeightsError, match=r"broken\.safetensors"):
        vc.compress(broken, out)
    with pytest.raises(FileNotFoundError, match=r"absent\.safetensors"):
        vc.compress(tmp_path / "absent.safetensors", out)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(vc.WeightsError, match="holds no checkpoint"):
        vc.compress(empty, out)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": "../../etc/passwd"}}))
    with pytest.raises(vc.WeightsError, match="beside the index"):
        vc.compress(index, out)
    assert not out.exists()


def test_an_existing_archive_stays_when_compression_fails(module: Tied, tmp_path: Path) -> None:
    path = tmp_path / "model.vaec"
    vc.compress(module, path, codec="raw")
    before = path.read_bytes()

    def interrupt(stage: str, done: int, total: int, metrics: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vc.compress(module, path, **{**QUICK, "progress": interrupt})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_load_into_fills_a_module_or_leaves_it_alone(module: Tied, tmp_path: Path) -> None:
    path = tmp_path / "model.vaec"
    vc.compress(module, path, codec="raw")
    fresh = Tied()
    vc.load_into(fresh, path)
    for name, tensor in module.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], tensor)
    other = torch.nn.Sequential(torch.nn.Linear(3, 4))
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(vc.ModuleMismatchError, match=r"missing 0\.weight.*unexpected mask"):
        vc.load_into(other, path)
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, before[name])
    wrong = Tied()
    wrong.narrow = torch.nn.Parameter(torch.zeros(2, 2))
    with pytest.raises(vc.ModuleMismatchError, match=r"shape of narrow is \[40, 5\]"):
        vc.load_into(wrong, path)
