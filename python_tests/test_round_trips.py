"""Properties of any state dict.

Without loss all comes back bit for bit. Nothing else changes in silence.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import vaecomp_native as vc

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf")

FLOATS = ("float64", "float32", "float16", "bfloat16")
OTHERS = (
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"),
    *("float4_e2m1fn_x2", "complex32", "complex64", "complex128", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "int4", "uint3"),
)
LOSSY = ("quantized", "latent")
NAMES = st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20
) | st.sampled_from(["layer.0.weight", "layer.0.bias", "a" * 300])


def of_bits(dtype: torch.dtype, shape: tuple[int, ...], seed: int, kind: str) -> torch.Tensor:
    """Return a tensor of ordinary numbers, of one value, or of any bits.

    Any bits may be NaNs with payloads, infinities and -0.0.
    """
    generator = np.random.default_rng(seed)
    size = torch.empty(0, dtype=dtype).element_size()
    if kind == "ordinary" and dtype.is_floating_point and size > 1:
        return torch.from_numpy(generator.standard_normal(shape)).to(dtype)
    count = int(np.prod(shape)) * size
    bits = (
        np.zeros(count, np.uint8)
        if kind == "zeros"
        else generator.integers(0, 256, count, np.uint8)
    )
    if dtype == torch.bool:
        bits &= 1
    if not count:
        return torch.empty(shape, dtype=dtype)
    return torch.from_numpy(bits).view(dtype).reshape(shape)


@dataclass(frozen=True)
class Recipe:
    """How a tensor is made: its dtype, its shape, its values, and which view it is.

    Not every tensor can be printed.
    """

    dtype: str
    shape: tuple[int, ...]
    kind: str
    view: str
    seed: int

    def tensor(self) -> torch.Tensor:
        made = of_bits(getattr(torch, self.dtype), self.shape, self.seed, self.kind)
        if self.view == "transposed" and made.ndim > 1:
            return made.transpose(0, -1)
        if self.view == "every other" and made.ndim > 0:
            return made[::2]
        if self.view == "expanded" and made.ndim > 0 and made.shape[0] > 0:
            return made[:1].expand(3, *made.shape[1:])
        if self.dtype in ("complex64", "complex128"):
            lazy = {"conjugated": made.conj(), "negated": made.conj().imag, "imaginary": made.imag}
            return lazy.get(self.view, made)
        return made


RECIPES = st.builds(
    Recipe,
    dtype=st.sampled_from((*FLOATS, *FLOATS, *OTHERS)),
    shape=st.lists(st.integers(0, 9), max_size=4).map(tuple),
    kind=st.sampled_from(["ordinary", "any bits", "zeros"]),
    view=st.sampled_from(
        ["", "", "transposed", "every other", "expanded", "conjugated", "negated", "imaginary"]
    ),
    seed=st.integers(0, 1000),
)
# A number stands for the tensor with this place among those before it.
RECIPES_AND_TIES = st.dictionaries(NAMES, st.integers(0, 5) | RECIPES | RECIPES, max_size=6)


def state_of(recipes: Mapping[str, Recipe | int]) -> dict[str, torch.Tensor]:
    """The state dict that recipes make, with its ties."""
    state: dict[str, torch.Tensor] = {}
    for name, recipe in recipes.items():
        if isinstance(recipe, Recipe):
            state[name] = recipe.tensor()
        elif state:
            state[name] = list(state.values())[recipe % len(state)]
    return state


def bits(tensor: torch.Tensor) -> tuple[str, tuple[int, ...], bytes]:
    """Return dtype, shape, and bytes in C order of a tensor, however it lies in memory."""
    plain = tensor.detach()
    if plain.is_conj() or plain.is_neg():
        plain = plain.resolve_conj().resolve_neg()
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    if plain.element_size() in integers:
        # Of many dtypes torch can copy nothing.
        plain = plain.view(integers[plain.element_size()])
    return str(tensor.dtype), tuple(tensor.shape), plain.numpy().tobytes()


def ties(state: Mapping[str, torch.Tensor]) -> list[tuple[str, str]]:
    """Pairs of names of one memory, as a state dict has them."""
    names = [name for name in state if state[name].numel()]
    return [(a, b) for i, b in enumerate(names) for a in names[:i] if state[a] is state[b]]


def tied(archive: vc.Archive) -> set[tuple[str, str]]:
    groups: dict[str, list[str]] = {}
    for one in archive.info.tensors:
        groups.setdefault(one.alias_of or one.name, []).append(one.name)
    return {(a, b) for names in groups.values() for i, b in enumerate(names) for a in names[:i]}


@settings(max_examples=60)
@given(recipes=RECIPES_AND_TIES, codec=st.sampled_from(["lossless", "raw"]))
def test_without_loss_everything_comes_back(recipes: Mapping[str, Any], codec: str) -> None:
    state = state_of(recipes)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "m.vaec"
        vc.compress(state, path, codec=codec)
        loaded = vc.torch.load(path)
        with vc.open(path) as archive:
            assert set(ties(state)) <= tied(archive)
    assert list(loaded) == list(state)
    for name, tensor in state.items():
        assert bits(loaded[name]) == bits(tensor), name


@settings(max_examples=40)
@given(
    recipes=RECIPES_AND_TIES,
    codec=st.sampled_from(["auto", "quantized"]),
    options=st.sampled_from([{}, {"rate_weight": 0.1}, {"bits_per_weight": 64.0}]),
)
def test_with_loss_nothing_changes_that_is_not_reported(
    recipes: Mapping[str, Any], codec: str, options: dict[str, Any]
) -> None:
    state = state_of(recipes)
    with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tensors that are kept exact
        path = Path(directory) / "m.vaec"
        try:
            report = vc.compress(state, path, codec=codec, **options)
        except vc.UnreachableError:
            assert "bits_per_weight" in options and not path.exists()
            return
        loaded = vc.torch.load(path)
    codecs = {one.name: one.codec for one in report.info.tensors}
    owners = {one.name: one.alias_of or one.name for one in report.info.tensors}
    assert list(loaded) == list(state)
    for name, tensor in state.items():
        if codecs[owners[name]] in LOSSY:
            assert tensor.dtype in [getattr(torch, one) for one in FLOATS]
            assert loaded[name].dtype == tensor.dtype and loaded[name].shape == tensor.shape
            assert bool(torch.isfinite(loaded[name]).all())
        else:
            assert bits(loaded[name]) == bits(tensor), name


@pytest.mark.slow
@settings(max_examples=8)
@given(
    recipes=RECIPES_AND_TIES,
    metadata=st.dictionaries(NAMES, st.text(st.characters(exclude_categories=["Cs"]))),
)
def test_the_command_line_gives_a_file_back(
    recipes: Mapping[str, Any], metadata: dict[str, str]
) -> None:
    from safetensors.torch import load_file, safe_open, save_file

    state = state_of(recipes)

    storable = {
        name: tensor.detach().resolve_conj().resolve_neg().contiguous().clone()
        for name, tensor in state.items()
        if str(tensor.dtype).removeprefix("torch.")
        not in ("complex32", "complex128", "int4", "uint3")
        and not (tensor.dtype == torch.float4_e2m1fn_x2 and tensor.ndim == 0)
        and name != "__metadata__"
    }
    assume(storable)
    with tempfile.TemporaryDirectory() as directory:
        source, archive, back = (
            Path(directory) / name for name in ("a.safetensors", "a.vaec", "b")
        )
        save_file(storable, source, metadata)
        for arguments in (
            ["compress", source, archive, "--codec", "lossless"],
            ["verify", archive],
            ["decode", archive, back],
        ):
            command = [sys.executable, "-m", "vaecomp_native", *map(str, arguments)]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            assert run.returncode == 0, run.stderr
        loaded = load_file(back)
        with safe_open(back, "pt") as file:
            assert (file.metadata() or {}) == metadata
    assert set(loaded) == set(storable)
    for name, tensor in storable.items():
        assert bits(loaded[name]) == bits(tensor), name


def test_a_day_in_a_users_life(tmp_path: Path) -> None:
    """A repository in bfloat16 shards goes to an archive, to safetensors, and into the module.

    The bytes stay the same.
    """
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    module = torch.nn.TransformerEncoder(
        torch.nn.TransformerEncoderLayer(32, 4, 64), 2, enable_nested_tensor=False
    ).bfloat16()
    state = module.state_dict()
    repository = tmp_path / "model"
    repository.mkdir()
    names = list(state)
    shards = {
        name: f"model-{1 + i * 2 // len(names):05}-of-00002.safetensors"
        for i, name in enumerate(names)
    }
    for shard in set(shards.values()):
        part = {name: state[name] for name in names if shards[name] == shard}
        save_file(part, repository / shard, {"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": shards}
    (repository / "model.safetensors.index.json").write_text(json.dumps(index))
    (repository / "config.json").write_text("{}")
    for arguments in (
        ["compress", repository, tmp_path / "m.vaec", "--codec", "lossless"],
        ["inspect", tmp_path / "m.vaec"],
        ["decode", tmp_path / "m.vaec", tmp_path / "back.safetensors"],
    ):
        command = [sys.executable, "-m", "vaecomp_native", *map(str, arguments)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
    back = load_file(tmp_path / "back.safetensors")
    fresh = torch.nn.TransformerEncoder(
        torch.nn.TransformerEncoderLayer(32, 4, 64), 2, enable_nested_tensor=False
    ).bfloat16()
    fresh.load_state_dict(back, strict=True)
    for name, tensor in state.items():
        assert bits(fresh.state_dict()[name]) == bits(tensor)
