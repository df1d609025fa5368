"""Decoding for torch: tensors instead of arrays, and decoded weights in modules.

>>> import vaecomp_native.torch
>>> tensors = vaecomp_native.torch.load("model.vaec")
>>> report = vaecomp_native.torch.load_into(module, "model.vaec")
"""

from __future__ import annotations

from vaecomp_native.torch.loading import LoadReport, load, load_into

__all__ = ["LoadReport", "load", "load_into"]
