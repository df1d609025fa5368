"""Checkpoints that wrap a state dict, such as a training state.

A training state holds a model, perhaps its average, an optimizer and counters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vaecomp_native.errors import WeightsError, listed

DEPTH = 4
"""The number of levels of containers that are searched for a state dict."""
OPTIMIZER_KEYS = ("state", "param_groups")
"""The keys that every state of a torch optimizer has."""


Path = tuple[str, ...]


def unwrap(
    content: Mapping[Any, Any], key: str | None, is_tensor: Callable[[Any], bool]
) -> tuple[Mapping[Any, Any], list[str]]:
    """Find the state dict in a mapping, and note what was chosen and left out.

    A mapping without containers of tensors is the state dict itself. Otherwise `key` names the
    container, with dots between levels. Without a key there must be exactly one container.
    `is_tensor` recognizes tensors with at least one dimension. Raises WeightsError, which lists the
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
    """Yield the containers that can be state dicts, with their paths."""
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
    """Yield the names of the entries beside a path, at each of its levels."""
    for depth, name in enumerate(path):
        yield from (".".join((*path[:depth], str(other))) for other in content if other != name)
        content = content[name]
