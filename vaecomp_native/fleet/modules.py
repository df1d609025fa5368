"""Torch modules among weights of other kinds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from vaecomp_native.state_dict import Weights


def as_module(weights: Weights, who: str) -> torch.nn.Module:
    """Weights that are a torch module. Raises ValueError, naming `who`, if they are not."""
    torch_module = sys.modules.get("torch")
    if torch_module is None or not isinstance(weights, torch_module.nn.Module):
        raise ValueError(
            f"calibration and evaluate run the model: give the {who} as a torch module"
        )
    module: torch.nn.Module = weights
    return module
