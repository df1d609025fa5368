"""Conversion between torch tensors and NumPy arrays, without a copy where possible.

Every dtype that both sides have is supported.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vaecomp_native import _core

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]
PREFIX = "torch."
EXTRA_STATE = "_extra_state"
"""The last part of the name of anything that a torch module stores beside its tensors."""
BITS = {1: "uint8", 2: "int16", 4: "int32"}
"""Integer dtypes that carry the bits of dtypes unknown to NumPy, by bytes per element."""


def is_tensor(value: Any) -> bool:
    """Whether a value is a torch tensor; this does not import torch."""
    module = sys.modules.get("torch")
    return module is not None and isinstance(value, module.Tensor)


def tensor_to_array(tensor: torch.Tensor) -> Array:
    """Return a torch tensor's values as an array of the same shape and dtype.

    Plain values in host memory are not copied. Raises TypeError for a tensor that is sparse,
    quantized, nested, without data, or of a dtype that archives cannot hold; the message says what
    to do.
    """
    problem = why_not_plain(tensor)
    if problem is not None:
        raise TypeError(problem)
    name = _dtype_name(tensor)
    plain = tensor.detach().cpu()
    dtype = _numpy_dtype(name)
    if dtype.names is None and dtype.isbuiltin == 1:
        return plain.resolve_conj().resolve_neg().numpy()
    import torch

    # NumPy has no such dtype of its own, so the bits pass as integers and are named here.
    if plain.is_conj() or plain.is_neg():
        plain = _resolved(plain)
    bits: Array = plain.view(getattr(torch, BITS[dtype.itemsize])).numpy()
    return bits.view(dtype)


def array_to_tensor(array: Array) -> torch.Tensor:
    """Return an array of any archive dtype as a torch tensor of the same shape and dtype.

    The tensor shares the array's memory; a read-only array is copied. Raises TypeError for a dtype
    that this PyTorch does not have.
    """
    import torch

    if not array.flags.writeable:
        array = array.copy()
    name = _core.dtype_name(array.dtype)
    if array.dtype.names is None and array.dtype.isbuiltin == 1:
        return torch.from_numpy(array)
    dtype = getattr(torch, name, None)
    if dtype is None:
        raise TypeError(f"PyTorch {torch.__version__} has no dtype {name}; update it")
    bits = getattr(torch, BITS[array.dtype.itemsize])
    tensor: torch.Tensor = torch.from_numpy(array.view(BITS[array.dtype.itemsize]))
    assert tensor.dtype == bits
    return tensor.view(dtype)


def _dtype_name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix(PREFIX)


def _numpy_dtype(name: str) -> np.dtype[Any]:
    try:
        return _core.numpy_dtype(name)
    except ValueError:
        raise TypeError(
            f"has dtype {name}, which archives cannot hold; convert it, or leave it out"
        ) from None


def _resolved(tensor: torch.Tensor) -> torch.Tensor:
    """Compute the values of a conjugated or negated view whose dtype NumPy does not know.

    Torch computes little with complex numbers of half precision, so their parts are negated here.
    """
    import torch

    if not tensor.is_complex():
        return tensor.resolve_neg()
    parts = torch.view_as_real(tensor.conj() if tensor.is_conj() else tensor).clone()
    if tensor.is_conj():
        parts[..., 1].neg_()
    return torch.view_as_complex(parts)


def is_uninitialized(tensor: torch.Tensor) -> bool:
    """Whether a tensor has no shape yet because its lazy module has not run."""
    from torch.nn.parameter import is_lazy

    return bool(is_lazy(tensor))


def why_not_plain(tensor: torch.Tensor) -> str | None:
    """Say why a tensor's memory does not plainly hold its values, and what to do; or None."""
    import torch

    if is_uninitialized(tensor):
        return "is not initialized; run the module once on a sample input"
    if tensor.is_quantized:
        return "is quantized; convert it with .dequantize() or .int_repr()"
    if tensor.is_nested:
        return "is nested; convert it with .to_padded_tensor(0), or store its parts"
    if tensor.layout != torch.strided:
        return f"has the layout {tensor.layout}; convert it with .to_dense()"
    if tensor.is_meta:
        return "is on the meta device and has no values; load the weights first"
    if type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        kind = type(tensor).__name__
        return f"is a {kind}, whose values are not in its memory; convert it to a plain tensor"
    return None
