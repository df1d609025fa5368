"""The fit of an archive's tensors to a module, found without touching the module's values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from vaecomp_native.errors import in_one_line
from vaecomp_native.tensors import EXTRA_STATE

WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Parts that DataParallel, torch.compile and other wrappers add to a module's names."""
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Fit:
    """The fit of an archive's tensors to a module.

    Attributes:
        names: the archive's names, mapped to the module's.
        tied: names of the module that the archive lacks, mapped to names of the same tensor that
            the archive has.
        missing: other names of the module that the archive lacks.
        unexpected: names of the archive that the module lacks.
        ignored: names of the archive that the module lacks and asks to ignore.
        renamed: parts that wrappers added to the names of one side.
        problems: reasons that forbid loading in any case.
        ties_itself: whether the module's `tie_weights` makes the ties.
    """

    names: Mapping[str, str]
    tied: Mapping[str, str]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    ignored: tuple[str, ...]
    renamed: tuple[str, ...]
    problems: tuple[str, ...]
    ties_itself: bool

    @property
    def differences(self) -> tuple[str, ...]:
        """All reasons for which a strict load fails."""
        return (
            *(f"missing {name}" for name in self.missing if not is_extra(name)),
            *(f"unexpected {name}" for name in self.unexpected),
            *self.problems,
        )


def find_fit(module: torch.nn.Module, shapes: Shapes) -> Fit:
    """Find the fit of tensors to a module by their names.

    If the names do not fit, names without the wrappers' parts are tried. They are taken only if
    they leave no difference.
    """
    plain = _try(module, shapes, {name: name for name in shapes}, ())
    if not plain.differences:
        return plain
    names = _unwrapped(module.state_dict(), shapes)
    if names is None:
        return plain
    unwrapped = _try(module, shapes, names, _parts_between(names))
    return plain if unwrapped.differences else unwrapped


def all_tensors(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield parameters and buffers with their names, and a tied tensor with each of its names."""
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def is_extra(name: str) -> bool:
    """Whether a name belongs to a module's extra state, which is not one of its tensors.

    A module keeps its extra state if the archive has none.
    """
    return name.rpartition(".")[2] == EXTRA_STATE


def _try(
    module: torch.nn.Module, shapes: Shapes, names: Mapping[str, str], renamed: tuple[str, ...]
) -> Fit:
    problems = _wrong_shapes(module, {names[name]: shape for name, shape in shapes.items()})
    if problems:
        return Fit(names, {}, (), (), (), renamed, problems, ties_itself=False)
    # Extra state is left out, because the trial would set it.
    trial = {
        names[name]: torch.empty(shape, device="meta")
        for name, shape in shapes.items()
        if not is_extra(name)
    }
    try:
        done = _rehearse(module, trial)
    except RuntimeError as error:
        return Fit(names, {}, (), (), (), renamed, (in_one_line(error),), ties_itself=False)
    given = set(names.values())
    missing = [name for name in done.missing if name not in done.tied and name not in given]
    own = {new: name for name, new in names.items()}
    unexpected = [own[name] for name in done.unexpected]
    ignored = [name for name in unexpected if _is_ignored(module, names[name])]
    return Fit(
        names,
        done.tied,
        tuple(name for name in missing if not _matches(module, "missing", name)),
        tuple(name for name in unexpected if name not in ignored),
        tuple(ignored),
        renamed,
        (),
        done.ties_itself,
    )


@dataclass(frozen=True)
class _Rehearsal:
    missing: list[str]
    unexpected: list[str]
    tied: dict[str, str]
    ties_itself: bool = False


def _rehearse(module: torch.nn.Module, trial: Mapping[str, torch.Tensor]) -> _Rehearsal:
    """Run the module's own loading with tensors without values.

    Raises RuntimeError if the module's loading does.
    """
    if any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()):
        # Scripted modules hide their tensors from Python and have no loading of their own.
        wanted = module.state_dict()
        missing = [name for name in wanted if name not in trial]
        return _Rehearsal(missing, [name for name in trial if name not in wanted], {})
    with _on_meta(module):
        result = module.load_state_dict(dict(trial), strict=False)
        missing, unexpected = result.missing_keys, result.unexpected_keys
        tied = _tied(module, missing, trial)
        if len(tied) == len(missing) or not callable(getattr(module, "tie_weights", None)):
            return _Rehearsal(missing, unexpected, tied)
        module.tie_weights()  # type: ignore[operator]
        more = _tied(module, missing, trial)
        return _Rehearsal(missing, unexpected, more, ties_itself=len(more) > len(tied))


def _wrong_shapes(module: torch.nn.Module, shapes: Shapes) -> tuple[str, ...]:
    wanted = {
        name: tuple(value.shape)
        for name, value in module.state_dict().items()
        if isinstance(value, torch.Tensor) and not is_extra(name)
    }
    return tuple(
        f"shape of {name} is {list(shapes[name])}, the module has {list(shape)}"
        for name, shape in wanted.items()
        if name in shapes and shapes[name] != shape
    )


@contextmanager
def _on_meta(module: torch.nn.Module) -> Iterator[None]:
    """Put tensors without values in the place of the module's while the block runs.

    Tensors that share their memory get one such tensor.
    """
    places = [(part._parameters, part._buffers) for part in module.modules()]
    before = [(dict(parameters), dict(buffers)) for parameters, buffers in places]
    twins: dict[object, torch.Tensor] = {}
    try:
        for parameters, buffers in places:
            for tensors in (parameters, buffers):
                for name, tensor in tensors.items():
                    if tensor is not None:
                        twin: Any = twins.setdefault(_identity(tensor), _twin(tensor))
                        tensors[name] = twin
        yield
    finally:
        for (parameters, buffers), (old_parameters, old_buffers) in zip(
            places, before, strict=True
        ):
            parameters.clear()
            parameters.update(old_parameters)
            buffers.clear()
            buffers.update(old_buffers)


def _identity(tensor: torch.Tensor) -> object:
    if tensor.is_meta or tensor.numel() == 0 or tensor.layout != torch.strided:
        return id(tensor)
    return tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


def _twin(tensor: torch.Tensor) -> torch.Tensor:
    twin = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
    if isinstance(tensor, torch.nn.Parameter):
        return torch.nn.Parameter(twin, requires_grad=tensor.requires_grad)
    return twin


def _tied(
    module: torch.nn.Module, missing: Iterable[str], given: Mapping[str, object]
) -> dict[str, str]:
    """Map names in `missing` to names in `given` that belong to the same tensor."""
    tensors = dict(all_tensors(module))
    owners = {id(tensor): name for name, tensor in tensors.items() if name in given}
    return {
        name: owners[id(tensors[name])]
        for name in missing
        if name in tensors and id(tensors[name]) in owners
    }


def _is_ignored(module: torch.nn.Module, name: str) -> bool:
    """Whether the module expects a name that it has no use for.

    Such a name belongs to a buffer that the module does not store, or the module asks to ignore it.
    """
    path, _, own = name.rpartition(".")
    part = dict(module.named_modules()).get(path)
    not_stored: Iterable[str] = getattr(part, "_non_persistent_buffers_set", ())
    return own in not_stored or _matches(module, "unexpected", name)


def _matches(module: torch.nn.Module, kind: str, name: str) -> bool:
    """Whether a Hugging Face model lists a name among those that may be missing or unexpected."""
    patterns = getattr(module, f"_keys_to_ignore_on_load_{kind}", None) or ()
    return any(re.search(pattern, name) for pattern in patterns)


def _unwrapped(wanted: Iterable[str], found: Iterable[str]) -> dict[str, str] | None:
    """Map the archive's names to the module's, which may differ in wrappers' parts.

    The result is None if two names on one side differ in such parts alone.
    """
    own, theirs = list(wanted), list(found)
    by_core = {_core(name): name for name in own}
    if len(by_core) < len(own) or len({_core(name) for name in theirs}) < len(theirs):
        return None
    return {name: by_core.get(_core(name), name) for name in theirs}


def _core(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _parts_between(names: Mapping[str, str]) -> tuple[str, ...]:
    def differs(part: str) -> bool:
        return any(a.split(".").count(part) != b.split(".").count(part) for a, b in names.items())

    return tuple(f"{part}." for part in WRAPPERS if differs(part))
