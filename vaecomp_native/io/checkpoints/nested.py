"""Checkpoints that wrap a state dict: training states, with a model, its average, an optimizer, counters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vaecomp_native.errors import WeightsError, listed

DEPTH = 4
"""Levels of containers that are looked into."""
OPTIMIZER_KEYS = ("state", "param_groups")
"""What every state of a torch optimizer has."""


Path = tuple[str, ...]


def unwrap(
    content: Mapping[Any, Any], key: str | None, is_tensor: Callable[[Any], bool]
) -> tuple[Mapping[Any, Any], list[str]]:
    """The state dict in a mapping, and notes of what was chosen and left out.

    A mapping without containers of tensors is the state dict itself. Otherwise `key` names the container, with dots between levels;
    without it there must be just one. `is_tensor` tells tensors with at least one dimension. Raises WeightsError, listing the
    candidates.
    """
    found = dict(_candidates(content, is_tensor))
    inner = {".".join(path): path for path in found if path}
    if key is not None and key not in inner:
        known = listed([*inner], 20) if inner else "no containers of tensors"
        raise WeightsError(f"key '{key}' names no state dict; the checkpoint has {known}")
    if key is None and len(inner) > 1:
        raise WeightsError(
            f"the checkpoint holds {len(inner)} state dicts: {listed([*inner], 20)}; choose one "
            "by its key (--key on the command line)"
        )
    if not inner:
        if () not in found and any(isinstance(value, Mapping) for value in content.values()):
            names = [str(name) for name in content]
            raise WeightsError(f"the checkpoint holds no state dict, only {listed(names)}")
        return content, []
    taken = key if key is not None else next(iter(inner))
    left = list(_beside(content, inner[taken]))
    notes = [f"took '{taken}'"] + ([f"left out {listed(left, 20)}"] if left else [])
    return found[inner[taken]], notes


def _candidates(
    content: Mapping[Any, Any], is_tensor: Callable[[Any], bool], path: Path = ()
) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Containers that can be state dicts, by their paths."""
    if not all(isinstance(name, str) for name in content):
        return
    if all(name in content for name in OPTIMIZER_KEYS):
        return
    if any(is_tensor(value) for value in content.values()):
        yield path, content
    if len(path) == DEPTH:
        return
    for name, value in content.items():
        if isinstance(value, Mapping) and not name.endswith("_extra_state"):
            yield from _candidates(value, is_tensor, (*path, name))


def _beside(content: Mapping[Any, Any], path: Path) -> Iterator[str]:
    """What lies beside a path, at each of its levels."""
    for depth, name in enumerate(path):
        yield from (".".join((*path[:depth], str(other))) for other in content if other != name)
        content = content[name]
