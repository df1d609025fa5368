"""The device on which the VAE is trained."""

from __future__ import annotations

import torch

from vaecomp_native.errors import TrainingError


def choose_device(name: str) -> torch.device:
    """The PyTorch device called `name`; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        TrainingError: PyTorch does not know the name, or the device is not available here.
    """
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if _available(kind)))
    try:
        device = torch.device(name)
        available = _available(device.type)
        if available and device.type == "cuda" and device.index is not None:
            available = device.index < torch.cuda.device_count()
    except RuntimeError:
        available = False
    if not available:
        usable = ", ".join(kind for kind in ("cuda", "mps", "cpu") if _available(kind))
        raise TrainingError(f"device {name!r} is not available; use auto or one of: {usable}")
    return device


def _available(kind: str) -> bool:
    if kind == "cuda":
        return torch.cuda.is_available()
    if kind == "mps":
        return torch.backends.mps.is_available()
    return kind == "cpu"
