"""A module's result as named outputs: all tensors count, whatever object holds them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import torch

Outputs = Mapping[str, Sequence[torch.Tensor]]
"""Floating-point and complex tensors by their path in a result, "" for the result itself."""

BY_PRODUCTS = frozenset({"loss", "past_key_values"})
"""Names in Hugging Face models' results that are no outputs: from labels, or for the next call."""


def outputs_of(result: Any) -> dict[str, list[torch.Tensor]]:
    """Find the floating-point and complex tensors of a result.

    The result may be a tensor, a tuple, list or mapping, a dataclass or another object, nested at
    will. Mappings and objects in a list are samples: their tensors under one name are one output of
    several tensors. By-products count only where there is nothing else.
    """
    outputs: dict[str, list[torch.Tensor]] = {}
    for path, tensor in _tensors(result, (), ()):
        outputs.setdefault(".".join(path), []).append(tensor)
    return {name: one for name, one in outputs.items() if not _is_by_product(name)} or outputs


def numbers(tensor: torch.Tensor) -> torch.Tensor:
    """Turn a tensor into a dense one of float32 or complex64."""
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    return tensor.to(torch.complex64) if tensor.is_complex() else tensor.float()


def _is_by_product(path: str) -> bool:
    return not BY_PRODUCTS.isdisjoint(path.split("."))


def _tensors(
    result: Any, path: tuple[str, ...], inside: tuple[int, ...]
) -> Iterator[tuple[tuple[str, ...], torch.Tensor]]:
    if isinstance(result, torch.Tensor):
        if result.is_nested:
            yield from ((path, part) for part in result.unbind() if _counts(part))
        elif _counts(result):
            yield path, result
    elif id(result) not in inside:  # objects may refer to one another
        for name, part in _parts(result):
            yield from _tensors(part, (*path, name) if name else path, (*inside, id(result)))


def _counts(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex() or tensor.is_quantized


def _parts(result: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(result, Mapping):
        yield from ((str(key), part) for key, part in result.items())
    elif isinstance(result, tuple) and hasattr(result, "_fields"):
        yield from zip(result._fields, result, strict=True)
    elif isinstance(result, list | tuple):
        for number, part in enumerate(result):
            yield "" if _is_sample(part) else str(number), part
    elif _is_object(result):
        yield from _attributes(result).items()


def _is_sample(part: Any) -> bool:
    return isinstance(part, Mapping) or _is_object(part)


def _is_object(part: Any) -> bool:
    """Whether it may hold tensors as attributes. Functions, modules and classes are no results."""
    if isinstance(part, torch.Tensor | ModuleType | tuple | list) or callable(part):
        return False
    return dataclasses.is_dataclass(part) or hasattr(part, "__dict__")


def _attributes(result: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(result):
        return {one.name: getattr(result, one.name) for one in dataclasses.fields(result)}
    public = {name: part for name, part in vars(result).items() if not name.startswith("_")}
    # The logits may be a property.
    return public | ({"logits": result.logits} if hasattr(result, "logits") else {})
