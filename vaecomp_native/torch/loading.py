"""Decoding archives to torch tensors, and into modules."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vaecomp_native.archive import Archive
from vaecomp_native.errors import ModuleMismatchError, listed
from vaecomp_native.io.sources import Source
from vaecomp_native.opening import open
from vaecomp_native.tensors import array_to_tensor, is_uninitialized, why_not_plain
from vaecomp_native.torch.fit import Fit, all_tensors, find_fit


@dataclass(frozen=True)
class LoadReport:
    """The outcome of `load_into`.

    Attributes:
        loaded: the module's names whose values come from the archive.
        tied: those of `loaded` that the archive holds only under another name.
        missing: the module's names that the archive has nothing for. They keep their values.
        unexpected: the archive's names that the module has no use for.
        renamed: the wrappers' prefixes that were passed over ("module.", "_orig_mod.").
        converted: names whose dtype differs from the archive's.
        empty: the module's tensors that still have no values, because they are on the meta device.
    """

    loaded: tuple[str, ...]
    tied: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    renamed: tuple[str, ...]
    converted: tuple[str, ...]
    empty: tuple[str, ...]


def load(
    source: Source,
    *,
    pack: Archive | Source | None = None,
    names: Sequence[str] | None = None,
    threads: int = 0,
    verify: bool = True,
    mmap: bool = False,
) -> dict[str, torch.Tensor]:
    """Decode an archive, or the tensors named, to torch tensors in host memory.

    The tensors come in the archive's order. Arguments and errors are those of
    `vaecomp_native.decode`. Every dtype becomes torch's own, bfloat16 and float8 included, without
    a copy. Tied weights share one tensor. Raises TypeError for a dtype that this PyTorch does not
    have.
    """
    with open(source, pack=pack, threads=threads, verify=verify, mmap=mmap) as archive:
        return _tensors(archive.decode(names))


def load_into(
    module: torch.nn.Module,
    source: Source,
    *,
    pack: Archive | Source | None = None,
    strict: bool = True,
    assign: bool = False,
    threads: int = 0,
) -> LoadReport:
    """Decode an archive into a module's parameters and buffers.

    An archive fits if the module's own `load_state_dict` and `tie_weights` accept it. One name is
    enough for weights that are tied in the module. Names of the module's non-persistent buffers,
    and names that it asks to ignore, are left out. Prefixes of DataParallel and torch.compile on
    either side are passed over if everything fits without them.

    Args:
        module: a torch module. It keeps its dtypes and devices unless `assign` is set.
        source: as for `decode`.
        pack: the pack, if the archive is a member of a fleet.
        strict: whether a missing or an unexpected name is an error. Shapes must always be the same.
        assign: whether decoded tensors take the place of the module's, in host memory and with the
            archive's dtypes. This fills modules on the meta device.
        threads: the number of threads of the native kernels, 0 for all cores.

    Returns:
        The names that were loaded, left out and converted.

    Raises:
        ModuleMismatchError: names, shapes or values do not fit the module, or it has no memory to
            load into. The message lists the differences. The module is untouched.
        ArchiveError, OSError: as `decode` raises them.

    Warns:
        UserWarning: some tensors stay without values on the meta device.
    """
    _check_memory(module, assign)
    with open(source, pack=pack, threads=threads) as archive:
        fit = find_fit(module, {one.name: one.shape for one in archive.info.tensors})
        problems = fit.differences if strict else fit.problems
        if problems:
            raise ModuleMismatchError("the archive does not fit the module: " + "; ".join(problems))
        left_out = {*fit.unexpected, *fit.ignored}
        decoded = _tensors(archive.decode([name for name in archive if name not in left_out]))
    tensors = {fit.names[name]: tensor for name, tensor in decoded.items()}
    converted = () if assign else _converted(module, tensors)
    _load(module, tensors, fit, assign=assign)
    empty = tuple(name for name, tensor in all_tensors(module) if tensor.is_meta)
    if empty:
        warnings.warn(
            f"the module's {listed(empty)} are on the meta device and have no values: the archive "
            "has nothing for them; set them before the module runs",
            stacklevel=2,
        )
    return LoadReport(
        loaded=(*tensors, *fit.tied),
        tied=tuple(fit.tied),
        missing=fit.missing,
        unexpected=(*fit.unexpected, *fit.ignored),
        renamed=fit.renamed,
        converted=converted,
        empty=empty,
    )


def _tensors(arrays: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Convert arrays to tensors; an array with several names becomes one tensor."""
    made: dict[int, torch.Tensor] = {}
    for array in arrays.values():
        if id(array) not in made:
            made[id(array)] = array_to_tensor(array)
    return {name: made[id(array)] for name, array in arrays.items()}


def _check_memory(module: torch.nn.Module, assign: bool) -> None:
    """Raise ModuleMismatchError if the module has tensors without memory to load into."""
    for name, tensor in all_tensors(module):
        problem = why_not_plain(tensor)
        if not is_uninitialized(tensor) and tensor.is_meta:
            problem = "is on the meta device and has no memory; give assign=True"
            if assign:
                continue
        if problem is not None:
            raise ModuleMismatchError(f"module: {name} {problem}")


def _converted(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
    """List the names whose dtype changes.

    Raises ModuleMismatchError for values that the module's dtype cannot hold.
    """
    own = dict(all_tensors(module))
    changed = [name for name in tensors if name in own and own[name].dtype != tensors[name].dtype]
    wrong = [name for name in changed if not _holds(own[name].dtype, tensors[name])]
    if wrong:
        raise ModuleMismatchError(
            "the archive does not fit the module: "
            + "; ".join(
                f"values of {name}, {_short(tensors[name].dtype)} in the archive, "
                f"do not fit the module's {_short(own[name].dtype)}"
                for name in wrong
            )
            + "; convert the module first, or give assign=True"
        )
    return tuple(changed)


def _holds(dtype: torch.dtype, tensor: torch.Tensor) -> bool:
    """Whether a dtype can hold a tensor's values.

    Floats may be rounded but must stay finite. Other values must stay exact.
    """
    if tensor.dtype.is_complex and not dtype.is_complex:
        return False
    is_rounded = tensor.is_floating_point() or tensor.dtype.is_complex
    if not is_rounded or not (dtype.is_floating_point or dtype.is_complex):
        return torch.equal(tensor.to(dtype).to(tensor.dtype), tensor)
    values = torch.view_as_real(tensor) if tensor.dtype.is_complex else tensor
    values = values.double()
    limits = torch.finfo(dtype)
    finite = values[torch.isfinite(values)]
    return bool(((finite <= limits.max) & (finite >= limits.min)).all())


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _load(
    module: torch.nn.Module, tensors: dict[str, torch.Tensor], fit: Fit, *, assign: bool
) -> None:
    if assign:
        tensors = _with_ties(module, tensors, fit)
    # Tensors that were made in inference mode can be written only in it.
    inference = not assign and any(tensor.is_inference() for _, tensor in all_tensors(module))
    with torch.inference_mode(inference) if inference else torch.no_grad():
        module.load_state_dict(tensors, strict=False, assign=assign)
    if fit.ties_itself:
        module.tie_weights()  # type: ignore[operator]


def _with_ties(
    module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], fit: Fit
) -> dict[str, torch.Tensor]:
    """Return tensors for all names, with one parameter for names that share one in the module."""
    own = dict(all_tensors(module))
    result = dict(tensors)
    result |= {name: tensors[other] for name, other in fit.tied.items()}
    made: dict[int, torch.nn.Parameter] = {}
    for name, tensor in result.items():
        before = own.get(name)
        if isinstance(before, torch.nn.Parameter):
            if id(before) not in made:
                made[id(before)] = torch.nn.Parameter(tensor, requires_grad=before.requires_grad)
            result[name] = made[id(before)]
    return result
