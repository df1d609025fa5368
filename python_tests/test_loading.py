"""Archives into torch tensors and modules: what fits, what does not, and what the report says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import vaecomp_native as vc

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402


def archive_of(tmp_path: Path, tensors: Mapping[str, Any]) -> Path:
    vc.compress(dict(tensors), tmp_path / "m.vaec", codec="raw")
    return tmp_path / "m.vaec"


def linear() -> nn.Linear:
    return nn.Linear(3, 2)


def equal(module: nn.Module, expected: Mapping[str, Any]) -> bool:
    state = module.state_dict()
    return all(torch.equal(state[name], tensor) for name, tensor in expected.items())


class Tied(nn.Module):
    """An embedding and a head of one weight, and a buffer that is not stored."""

    def __init__(self, tied: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        if tied:
            self.head.weight = self.embed.weight
        self.register_buffer("position_ids", torch.arange(4), persistent=False)


class TiedLater(Tied):
    """As Hugging Face models are: `tie_weights` makes the tie."""

    _keys_to_ignore_on_load_unexpected = (r"rotary\.inv_freq",)

    def __init__(self) -> None:
        super().__init__(tied=False)

    def tie_weights(self) -> None:
        self.head.weight = self.embed.weight


class Buffer(nn.Module):
    """One buffer."""

    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("b", value)


WEIGHT = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


# Tensors


def test_tensors_come_in_every_dtype_with_their_ties(tmp_path: Path) -> None:
    tensors = {
        "bfloat16": WEIGHT.bfloat16(),
        "tied": WEIGHT,
        "weight": WEIGHT,
        "float8": WEIGHT.to(torch.float8_e4m3fn),
        "scalar": torch.tensor(3),
        "empty": torch.empty(0, 4, dtype=torch.float16),
        "flags": torch.tensor([True, False]),
    }
    path = archive_of(tmp_path, tensors)
    loaded = vc.torch.load(path)
    assert list(loaded) == list(tensors)
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype and loaded[name].shape == tensor.shape
        assert torch.equal(loaded[name].float(), tensor.float())
    assert loaded["tied"] is loaded["weight"]
    assert list(vc.torch.load(path, names=["scalar"])) == ["scalar"]


# Names


def test_missing_and_unexpected_names(tmp_path: Path) -> None:
    path = archive_of(tmp_path, {"weight": torch.ones(2, 3), "more": torch.ones(1)})
    module = linear()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(vc.ModuleMismatchError, match=r"missing bias; unexpected more"):
        vc.load_into(module, path)
    assert equal(module, before)
    report = vc.load_into(module, path, strict=False)
    assert report.loaded == ("weight",)
    assert report.missing == ("bias",) and report.unexpected == ("more",)
    assert equal(module, {"weight": torch.ones(2, 3), "bias": before["bias"]})


@pytest.mark.parametrize("strict", [True, False])
def test_shapes_must_fit(tmp_path: Path, strict: bool) -> None:
    module = linear()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    path = archive_of(tmp_path, {"weight": torch.ones(3, 3), "bias": torch.ones(2)})
    with pytest.raises(vc.ModuleMismatchError, match=r"weight is \[3, 3\].*has \[2, 3\]"):
        vc.load_into(module, path, strict=strict)
    assert equal(module, before)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_of_wrappers_are_passed_over_where_all_fits(tmp_path: Path, prefix: str) -> None:
    state = linear().state_dict()
    module = linear()
    path = archive_of(tmp_path, {prefix + name: tensor for name, tensor in state.items()})
    report = vc.load_into(module, path)
    assert equal(module, state)
    assert "".join(report.renamed) == prefix
    with pytest.raises(vc.ModuleMismatchError, match=f"unexpected {prefix}"):
        vc.load_into(nn.Linear(3, 2, bias=False), path)


def test_prefixes_of_the_module_are_passed_over_too(tmp_path: Path) -> None:
    state = linear().state_dict()
    path = archive_of(tmp_path, state)
    wrapped = nn.DataParallel(linear())
    assert vc.load_into(wrapped, path).renamed == ("module.",)
    assert equal(wrapped.module, state)
    compiled = torch.compile(linear())
    assert vc.load_into(compiled, path).renamed == ("_orig_mod.",)


def test_a_compiled_part_is_passed_over(tmp_path: Path) -> None:
    module = nn.Sequential(linear(), nn.Linear(2, 2))
    state = module.state_dict()
    named = {name.replace("0.", "0._orig_mod."): tensor for name, tensor in state.items()}
    fresh = nn.Sequential(linear(), nn.Linear(2, 2))
    vc.load_into(fresh, archive_of(tmp_path, named))
    assert equal(fresh, state)


def test_names_that_only_a_wrapper_tells_apart_stay_apart(tmp_path: Path) -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2))
            self.module = nn.Module()
            self.module.weight = nn.Parameter(torch.zeros(2))

    tensors = {"weight": torch.ones(2), "module.weight": torch.full((2,), 2.0)}
    module = Both()
    assert vc.load_into(module, archive_of(tmp_path, tensors)).renamed == ()
    assert equal(module, tensors)


# Ties and what models say of themselves


@pytest.mark.parametrize("name", ["embed.weight", "head.weight"])
def test_of_tied_weights_one_name_is_enough(tmp_path: Path, name: str) -> None:
    module = Tied()
    report = vc.load_into(module, archive_of(tmp_path, {name: WEIGHT}))
    assert torch.equal(module.embed.weight, WEIGHT) and module.head.weight is module.embed.weight
    assert set(report.loaded) == {"embed.weight", "head.weight"}
    assert report.tied == tuple({"embed.weight", "head.weight"} - {name})


def test_ties_of_storage_without_one_parameter(tmp_path: Path) -> None:
    module = Tied(tied=False)
    module.head.weight.data = module.embed.weight.data
    vc.load_into(module, archive_of(tmp_path, {"embed.weight": WEIGHT}))
    assert torch.equal(module.head.weight, WEIGHT)


def test_ties_that_the_model_makes_itself(tmp_path: Path) -> None:
    module = TiedLater()
    vc.load_into(module, archive_of(tmp_path, {"embed.weight": WEIGHT}))
    assert module.head.weight is module.embed.weight and torch.equal(module.head.weight, WEIGHT)
    with pytest.raises(vc.ModuleMismatchError, match=r"missing head\.weight"):
        vc.load_into(Tied(tied=False), tmp_path / "m.vaec")


def test_names_that_a_model_has_no_use_for_and_knows_it(tmp_path: Path) -> None:
    tensors = {
        "embed.weight": WEIGHT,
        "position_ids": torch.arange(4),
        "layer.rotary.inv_freq": torch.ones(2),
    }
    path = archive_of(tmp_path, tensors)
    report = vc.load_into(TiedLater(), path)
    assert set(report.unexpected) == {"position_ids", "layer.rotary.inv_freq"}
    with pytest.raises(vc.ModuleMismatchError, match=r"unexpected layer\.rotary\.inv_freq$"):
        vc.load_into(Tied(), path)


def test_names_of_earlier_versions_that_the_module_translates(tmp_path: Path) -> None:
    with pytest.warns(FutureWarning):
        old = nn.utils.weight_norm(linear()).state_dict()
    module = nn.utils.parametrizations.weight_norm(linear())
    vc.load_into(module, archive_of(tmp_path, old))
    assert torch.equal(module.parametrizations.weight.original1, old["weight_v"])


# Modules without memory


def test_a_module_on_the_meta_device_needs_assign(tmp_path: Path) -> None:
    path = archive_of(tmp_path, {"embed.weight": WEIGHT.bfloat16()})
    with torch.device("meta"):
        module = Tied()
    with pytest.raises(vc.ModuleMismatchError, match=r"embed\.weight.*assign=True"):
        vc.load_into(module, path)
    with pytest.warns(UserWarning, match="position_ids"):
        report = vc.load_into(module, path, assign=True)
    assert report.empty == ("position_ids",)
    assert module.head.weight is module.embed.weight
    assert isinstance(module.embed.weight, nn.Parameter) and module.embed.weight.requires_grad
    assert torch.equal(module.embed.weight, WEIGHT.bfloat16())


def test_assign_takes_the_archives_dtypes_and_keeps_what_is_frozen(tmp_path: Path) -> None:
    state = {name: tensor.bfloat16() for name, tensor in linear().state_dict().items()}
    module = linear()
    module.weight.requires_grad_(False)
    assert vc.load_into(module, archive_of(tmp_path, state), assign=True).converted == ()
    assert module.weight.dtype == torch.bfloat16
    assert not module.weight.requires_grad and module.bias.requires_grad


def test_modules_that_cannot_be_loaded_into_are_named(tmp_path: Path) -> None:
    path = archive_of(tmp_path, linear().state_dict())
    with pytest.raises(vc.ModuleMismatchError, match="weight is not initialized"):
        vc.load_into(nn.LazyLinear(2), path)
    with pytest.raises(vc.ModuleMismatchError, match="b has the layout"):
        vc.load_into(Buffer(torch.eye(3).to_sparse()), archive_of(tmp_path, {"b": torch.eye(3)}))


def test_parameters_made_in_inference_mode(tmp_path: Path) -> None:
    state = linear().state_dict()
    with torch.inference_mode():
        module = linear()
    vc.load_into(module, archive_of(tmp_path, state))
    assert equal(module, state)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_compiled_programs(tmp_path: Path) -> None:
    state = linear().state_dict()
    module = torch.jit.script(linear())
    vc.load_into(module, archive_of(tmp_path, state))
    assert equal(module, state)
    with pytest.raises(vc.ModuleMismatchError, match="missing bias; unexpected x"):
        vc.load_into(module, archive_of(tmp_path, {"weight": state["weight"], "x": torch.ones(1)}))


# Extra state


class WithState(nn.Module):
    """A module that stores something beside its tensors."""

    def __init__(self, extra: Any) -> None:
        super().__init__()
        self.part = linear()
        self.extra = extra

    def get_extra_state(self) -> Any:
        return self.extra

    def set_extra_state(self, extra: Any) -> None:
        self.extra = extra


@pytest.mark.filterwarnings("default")
def test_extra_state_is_kept_or_left_out_with_a_word(tmp_path: Path) -> None:
    source = WithState({"version": 1})
    with pytest.warns(UserWarning, match="_extra_state"):
        written = vc.compress(source, tmp_path / "m.vaec", codec="raw")
    assert "_extra_state" in written.notes[0]
    module = WithState({"version": 2})
    report = vc.load_into(module, tmp_path / "m.vaec")
    assert report.missing == ("_extra_state",) and module.extra == {"version": 2}
    assert equal(
        module,
        source.part.state_dict()
        and {f"part.{name}": tensor for name, tensor in source.part.state_dict().items()},
    )
    tensor = WithState(torch.ones(2))
    vc.compress(tensor, tmp_path / "m.vaec", codec="raw")
    module = WithState(torch.zeros(2))
    assert "_extra_state" in vc.load_into(module, tmp_path / "m.vaec").loaded
    assert torch.equal(module.extra, torch.ones(2))


# Values and dtypes

FITTING = [
    (torch.tensor([1.0, 2.0, 3.0]), torch.uint8),
    (torch.tensor([1, 0, 1]), torch.bool),
    (torch.tensor([True, False]), torch.float32),
    (torch.tensor([1.1, -2e30, 0.0]), torch.bfloat16),
    (torch.tensor([1.1, float("inf"), float("nan")]), torch.float16),
    (torch.tensor([65_503.0]), torch.float16),
    (torch.tensor([1.0, 448.0]), torch.float8_e4m3fn),
    (torch.tensor([1.0]).to(torch.float8_e5m2), torch.float32),
    (torch.tensor([1.0, 2.0]), torch.complex64),
    (torch.tensor([7, -7]), torch.int8),
]
WRONG = [
    (torch.tensor([300.0, 1.0]), torch.uint8),
    (torch.tensor([1.5]), torch.int64),
    (torch.tensor([float("nan")]), torch.int32),
    (torch.tensor([300]), torch.int8),
    (torch.tensor([-1]), torch.uint8),
    (torch.tensor([2]), torch.bool),
    (torch.tensor([2**24 + 1]), torch.float32),
    (torch.tensor([1e6]), torch.float16),
    (torch.tensor([1e9]), torch.float8_e4m3fn),
    (torch.tensor([1e300], dtype=torch.float64), torch.float32),
    (torch.tensor([1 + 0j]), torch.float32),
]


def case(pair: Any) -> str:
    tensor, dtype = pair
    return f"{tensor.tolist()}-{dtype}".replace("torch.", "")


@pytest.mark.parametrize("pair", FITTING, ids=case)
def test_values_that_the_modules_dtype_holds_are_converted(tmp_path: Path, pair: Any) -> None:
    tensor, dtype = pair
    module = Buffer(torch.zeros(tensor.shape, dtype=dtype))
    report = vc.load_into(module, archive_of(tmp_path, {"b": tensor}))
    assert report.converted == ("b",)
    assert torch.equal(
        module.b.to(torch.complex64).nan_to_num(), tensor.to(dtype).to(torch.complex64).nan_to_num()
    )


@pytest.mark.parametrize("pair", WRONG, ids=case)
def test_values_that_it_does_not_hold_are_refused(tmp_path: Path, pair: Any) -> None:
    tensor, dtype = pair
    module = Buffer(torch.zeros(tensor.shape, dtype=dtype))
    with pytest.raises(vc.ModuleMismatchError, match="values of b"):
        vc.load_into(module, archive_of(tmp_path, {"b": tensor}))
    assert not module.b.to(torch.float32).any()
