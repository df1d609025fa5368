"""The two projections of multi-head attention."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

_SIGNATURE = inspect.signature(F.multi_head_attention_forward)


def run(
    linear: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Run `F.multi_head_attention_forward` with its projections through `linear`.

    These are the output projection, and the input projection where query, key and value are the
    same tensor. In between runs torch's attention with identities in their places, which change
    nothing.
    """
    call = _SIGNATURE.bind(*args, **kwargs).arguments
    query, weight, bias = call["query"], call["out_proj_weight"], call["out_proj_bias"]
    identity = torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device)
    call.update(out_proj_weight=identity, out_proj_bias=None)
    packed = not call.get("use_separate_proj_weight", False)
    if packed and query is call["key"] and query is call["value"]:
        projected = linear(query, call["in_proj_weight"], call["in_proj_bias"])
        call["query"], call["key"], call["value"] = projected.chunk(3, -1)
        call.update(in_proj_weight=None, in_proj_bias=None, use_separate_proj_weight=True)
        call.update(q_proj_weight=identity, k_proj_weight=identity, v_proj_weight=identity)
    attended, attention_weights = F.multi_head_attention_forward(**call)
    return linear(attended, weight, bias), attention_weights
