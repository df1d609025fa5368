"""Members without loss, bit for bit.

Their tensors have zeros of both signs, NaNs of all kinds, infinities and subnormal numbers.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from safetensors.numpy import load_file, save_file
from torch import nn

import vaecomp_native as vc
from vaecomp_native import reference
from vaecomp_native.bits import all_identical, identical
from vaecomp_native.errors import CalibrationError, WeightsError

from .test_cli import vaecomp

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
FLOATS = [np.dtype(one) for one in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)]
INEXACT = [
    *FLOATS,
    np.dtype(ml_dtypes.float8_e4m3fn),
    np.dtype(ml_dtypes.float8_e5m2),
    np.dtype(np.complex64),
]


def patterns(dtype: np.dtype[Any]) -> st.SearchStrategy[Any]:
    """Words of one float: any bits, and the special ones more often."""
    word = np.dtype(f"u{dtype.itemsize if dtype.kind != 'c' else dtype.itemsize // 2}")
    bits = 8 * word.itemsize
    sign = 1 << (bits - 1)
    special = [0, sign, 1, sign | 1, sign - 1, 2 * sign - 1]
    if dtype in FLOATS:
        infinity = int(np.array(np.inf, dtype).view(word))
        quiet = int(np.array(np.nan, dtype).view(word)) & (sign - 1)
        special += [infinity, infinity | sign, infinity | 1, quiet, quiet | 3, quiet | sign]
    return st.sampled_from(special) | st.integers(0, 2**bits - 1)


@st.composite
def arrays_of(draw: st.DrawFn, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """An array of any bits."""
    word = np.dtype(f"u{dtype.itemsize if dtype.kind != 'c' else dtype.itemsize // 2}")
    parts = 2 if dtype.kind == "c" else 1
    flat = draw(stn.arrays(word, (int(np.prod(shape)) * parts,), elements=patterns(dtype)))
    return flat.view(dtype).reshape(shape)


@given(data=st.data(), dtype=st.sampled_from(INEXACT))
def test_identical_arrays_have_equal_bytes(data: st.DataObject, dtype: np.dtype[Any]) -> None:
    shape = data.draw(stn.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=3))
    one, other = (data.draw(arrays_of(dtype, shape)) for _ in range(2))
    assert identical(one, other) == (one.tobytes() == other.tobytes())
    assert identical(one, one.copy(order="F"))
    assert identical(one.T, one.T.copy())
    assert not identical(one, one[None])
    assert not identical(one, one.view(f"i{dtype.itemsize}"))
    assert all_identical({"a": one}, {"a": one.copy()})
    assert not all_identical({"a": one}, {"b": one})
    assert not all_identical({"a": one, "b": one}, {"b": one, "a": one})


def test_equal_is_not_identical() -> None:
    zero, nan = np.float32([0.0]), np.float32([np.nan])
    assert not identical(zero, -zero)
    assert identical(nan, nan.copy())
    assert not identical(nan, -nan)
    assert not identical(zero, zero.astype(">f4"))
    assert not identical(np.float16([1]), np.float16([1]).view(ml_dtypes.bfloat16))


SHAPES = {"w": (9, 11), "v": (10,), "gain": (4,), "one": (), "none": (0, 3), "wide": (1, 12)}


@dataclass(frozen=True)
class Trained:
    """A pack without loss, and its base with tied tensors."""

    path: Path
    base: Arrays


@pytest.fixture(scope="module", params=FLOATS, ids=str)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    dtype: np.dtype[Any] = request.param
    rng = np.random.default_rng(0)
    base = {name: rng.standard_normal(shape).astype(dtype) for name, shape in SHAPES.items()}
    base["w"][:3] = [[0.0], [-0.0], [1e-7]]
    base["gain"] = np.abs(base["gain"])
    base["tied"] = base["w"]
    base["byte"] = base["v"].astype(ml_dtypes.float8_e5m2)
    base["pair"] = base["v"].astype(np.complex64)
    members = [
        {n: (a + 0.01 * rng.standard_normal(a.shape)).astype(a.dtype) for n, a in base.items()}
        for _ in range(4)
    ]
    path = tmp_path_factory.mktemp("pack") / "fleet.vaepack"
    for member in members:
        member["tied"] = member["w"]
    vc.fleet.train(members, path, base=base, lossless=True, latent=2)
    return Trained(path, base)


@settings(max_examples=15)
@given(data=st.data())
def test_a_lossless_member_has_the_bits_of_its_model(
    trained: Trained, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("member")
    member = dict(trained.base)
    for name, array in trained.base.items():
        # As in the base, like it but for some elements, or anything.
        how = data.draw(st.sampled_from(["base", "some", "any"]), label=name)
        other = data.draw(arrays_of(array.dtype, array.shape)) if how != "base" else array
        if how == "some":
            chosen = data.draw(stn.arrays(bool, array.shape))
            other = np.where(chosen, other, array)
        member[name] = other
    member["tied"] = member["w"].copy() if data.draw(st.booleans()) else member["w"]
    path = folder / "m.vaec"
    report = vc.fleet.compress(member, path, pack=trained.path, lossless=True)
    assert report.relative_error == 0
    assert all_identical(vc.decode(path, pack=trained.path), member)
    packed = trained.path.read_bytes()
    assert all_identical(reference.decode(path.read_bytes(), pack=packed), member)


@pytest.mark.parametrize("how", [0.0, -0.0, np.nan])
def test_a_tied_tensor_that_is_equal_but_not_identical_is_refused(
    trained: Trained, tmp_path: Path, how: float
) -> None:
    member = {name: array.copy() for name, array in trained.base.items()}
    member["w"][0, 0], member["tied"][0, 0] = how, -how
    out = tmp_path / "m.vaec"
    with pytest.raises(WeightsError, match=r"'tied' of the member differs from 'w'.* tied"):
        vc.fleet.compress(member, out, pack=trained.path, lossless=True)
    assert not out.exists()
    others = [trained.base, member]
    with pytest.raises(WeightsError, match="'tied' of member 1 differs from 'w'"):
        vc.fleet.train(others, out, base=trained.base, latent=1)
    # A NaN is not equal to itself, and still the same.
    member["tied"] = member["w"].copy()
    vc.fleet.compress(member, out, pack=trained.path, lossless=True)
    assert all_identical(vc.decode(out, pack=trained.path), member)


def matrices(*names: str, seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal((20, 8), np.float32) for name in names}


def near(base: Arrays, seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    return {
        name: array + np.float32(0.01) * rng.standard_normal(array.shape, np.float32)
        for name, array in base.items()
    }


def pack_of(base: Arrays, path: Path, **options: Any) -> Path:
    members = [near(base, seed) for seed in range(4)]
    vc.fleet.train(members, path, base=base, **options)
    return path


def test_tensors_that_only_the_member_ties_come_back_the_same_or_with_a_warning(
    tmp_path: Path,
) -> None:
    base = matrices("a", "b")
    pack = pack_of(base, tmp_path / "p.vaepack", latent=1)
    shared = near(base, 9)["a"]
    member, out = {"a": shared, "b": shared}, tmp_path / "m.vaec"
    vc.fleet.compress(member, out, pack=pack, lossless=True)
    assert all_identical(vc.decode(out, pack=pack), member)
    with pytest.warns(UserWarning, match="'b' and 'a' are tied in the member and not in the pack"):
        vc.fleet.compress(member, out, pack=pack)


def test_tensors_that_the_pack_ties_are_the_same_in_every_member(tmp_path: Path) -> None:
    base = matrices("a")
    base["b"] = base["a"]
    members = [{"a": one["a"], "b": one["a"]} for one in (near(base, k) for k in range(4))]
    pack = tmp_path / "p.vaepack"
    vc.fleet.train(members, pack, base=base, latent=2)
    member = {"a": members[0]["a"], "b": members[0]["a"].copy()}
    for options in ({}, {"rate_weight": 0.01}, {"lossless": True}):
        out = tmp_path / "m.vaec"
        report = vc.fleet.compress(member, out, pack=pack, **options)
        decoded = vc.decode(out, pack=pack)
        assert identical(decoded["a"], decoded["b"])
        assert (report.relative_error == 0) == ("lossless" in options)


@pytest.mark.parametrize("value", [np.nan, -np.inf, 3e38])
@pytest.mark.parametrize("options", [{}, {"rate_weight": 0.01}])
def test_a_lossy_member_keeps_what_no_decoder_can_follow(
    tmp_path: Path, value: float, options: dict[str, float]
) -> None:
    base = matrices("a", "b")
    pack = pack_of(base, tmp_path / "p.vaepack", latent=2)
    member, out = near(base, 9), tmp_path / "m.vaec"
    member["a"][2, 3] = value
    with pytest.warns(UserWarning, match="'a' is stored without loss") as warned:
        report = vc.fleet.compress(member, out, pack=pack, **options)
    assert len(warned) == 1
    decoded = vc.decode(out, pack=pack)
    assert identical(decoded["a"], member["a"])
    assert not identical(decoded["b"], member["b"])
    assert 0 <= report.relative_error < 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vc.fleet.compress(member, out, pack=pack, lossless=True)
    assert all_identical(vc.decode(out, pack=pack), member)


def test_a_pack_is_trained_on_members_with_nans(tmp_path: Path) -> None:
    base = matrices("a", "b")
    members = [near(base, seed) for seed in range(4)]
    members[1]["a"][0] = np.nan
    for lossless in (False, True):
        pack = tmp_path / "p.vaepack"
        vc.fleet.train(members, pack, base=base, latent=2, lossless=lossless)
        out = tmp_path / "m.vaec"
        vc.fleet.compress(members[1], out, pack=pack, lossless=True)
        assert all_identical(vc.decode(out, pack=pack), members[1])


class Net(nn.Module):
    """A layer, and a mask that its outputs do not need."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layer = nn.Linear(8, 3)
        self.register_buffer("mask", torch.zeros(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.layer(x)
        return outputs


def test_calibration_names_what_is_not_finite(tmp_path: Path) -> None:
    modules = [Net(0) for _ in range(4)]
    batches = [[torch.ones(5, 8)] for _ in modules]
    pack, out = tmp_path / "p.vaepack", tmp_path / "m.vaec"
    options: dict[str, Any] = {"latent": 1, "steps": 10}
    vc.fleet.train(modules[1:], pack, base=modules[0], calibration=batches[1:], **options)
    member = Net(5)
    with torch.no_grad():
        member.layer.weight[0, 0] = torch.nan
    call = {"calibration": batches[0]}
    with pytest.raises(CalibrationError, match="not finite"):
        vc.fleet.compress(member, out, pack=pack, **call)
    vc.fleet.compress(member, out, pack=pack, lossless=True, **call)
    state = {name: tensor.numpy() for name, tensor in member.state_dict().items()}
    assert all_identical(vc.decode(out, pack=pack), state)
    with pytest.raises(CalibrationError, match="not finite"):
        vc.fleet.train(
            [modules[1], member], out, base=modules[0], calibration=batches[:2], **options
        )
    # Where the outputs are finite, latents are found as for any member.
    masked = Net(5)
    masked.get_buffer("mask").fill_(-torch.inf)
    with pytest.warns(UserWarning, match="'mask' is stored without loss"):
        vc.fleet.compress(masked, out, pack=pack, **call)
    assert np.isneginf(vc.decode(out, pack=pack)["mask"]).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_command_line_keeps_every_bit(dtype: str, tmp_path: Path) -> None:
    def save(folder: str, number: int, arrays: Arrays) -> None:
        (tmp_path / folder).mkdir(exist_ok=True)
        save_file(arrays, tmp_path / folder / f"{number}.safetensors")

    base = {name: array.astype(dtype) for name, array in matrices("a", "b").items()}
    base["a"][:, 0] = 0.0
    word = np.dtype(f"u{np.dtype(dtype).itemsize}")
    sign = np.array(-0.0, dtype).view(word)
    infinity = np.array(np.inf, dtype).view(word)
    special = np.array([0, 1, infinity, infinity | 1, infinity + 3], word)
    save("base", 0, base)
    for number in range(3):
        member = {name: array.astype(dtype) for name, array in near(base, number).items()}
        member["a"][:, 0] = -member["a"][:, 0] * 0
        flat = member["b"].view(word).reshape(-1)
        flat[: special.size] = special
        flat[special.size : 2 * special.size] = special | sign
        save("members", number, member)
    files = tmp_path / "members" / "*.safetensors"
    pack, out = tmp_path / "p.vaepack", tmp_path / "out"
    base_file = tmp_path / "base" / "0.safetensors"
    for command in (
        ("train", files, pack, "--base", base_file, "--latent", "1", "--lossless"),
        ("compress", files, out, "--pack", pack, "--lossless"),
        ("decode", out / "*.vaec", tmp_path / "decoded", "--pack", pack),
    ):
        run = vaecomp("fleet", *command)
        assert (run.returncode, run.stderr) == (0, "")
    for number in range(3):
        before = load_file(tmp_path / "members" / f"{number}.safetensors")
        assert all_identical(load_file(tmp_path / "decoded" / f"{number}.safetensors"), before)
