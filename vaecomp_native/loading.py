"""Archives into torch modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaecomp_native.archive import Archive
from vaecomp_native.errors import ModuleMismatchError
from vaecomp_native.io.sources import Source
from vaecomp_native.state_dict import array_to_tensor

if TYPE_CHECKING:
    import torch


def load_into(
    module: torch.nn.Module,
    source: Source,
    *,
    pack: Archive | Source | None = None,
    threads: int = 0,
) -> None:
    """Decode an archive into a module's parameters and buffers, in place; a member of a fleet with its `pack`.

    Names and shapes must be the same on both sides; otherwise ModuleMismatchError lists the differences and the
    module is untouched. Dtypes and devices stay the module's. Raises ArchiveError and OSError as `decode` does.
    """
    with Archive(source, pack=pack, threads=threads) as archive:
        _check_fit(module, archive)
        tensors = {name: array_to_tensor(array) for name, array in archive.decode().items()}
    module.load_state_dict(tensors)


def _check_fit(module: torch.nn.Module, archive: Archive) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {tensor.name: tensor.shape for tensor in archive.info.tensors}
    problems = [f"missing {name}" for name in wanted if name not in found]
    problems += [f"unexpected {name}" for name in found if name not in wanted]
    problems += [
        f"shape of {name} is {list(found[name])}, the module has {list(shape)}"
        for name, shape in wanted.items()
        if name in found and found[name] != shape
    ]
    if problems:
        raise ModuleMismatchError("the archive does not fit the module: " + "; ".join(problems))
