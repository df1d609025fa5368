"""Modules whose parameters are differences from a base: calibration then sees what errors in differences cost."""

from __future__ import annotations

import copy
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn


def differences_module(member: nn.Module, base: nn.Module) -> nn.Module:
    """A copy of ``member`` whose parameters are those of ``member`` minus those of ``base``.

    It computes what ``member`` computes, up to rounding, and its state dict has the same names: the base's weights are
    beside it. Both have the same structure, and linear layers and 2-d convolutions own all parameters; ValueError
    otherwise, naming the one that does not fit.
    """
    result = copy.deepcopy(member)
    bases = dict(base.named_modules())
    for name, module in member.named_modules():
        if isinstance(module, nn.Linear):
            _replace(result, name, _LinearDifference(module, bases[name]))
        elif isinstance(module, nn.Conv2d):
            _replace(result, name, _ConvolutionDifference(module, bases[name]))
        elif own := next((key for key, _ in module.named_parameters(recurse=False)), None):
            raise ValueError(f"parameter '{own}' of {name or 'the module'} has no difference")
    return result


def _replace(module: nn.Module, name: str, layer: nn.Module) -> None:
    owner, _, last = name.rpartition(".")
    setattr(module.get_submodule(owner), last, layer)


class _LinearDifference(nn.Module):
    """A linear layer that is the sum of a base and a difference."""

    def __init__(self, member: nn.Linear | nn.Conv2d, base: nn.Module) -> None:
        super().__init__()
        for name, parameter in member.named_parameters():
            under = base.get_parameter(name).detach().clone()
            self.register_parameter(name, nn.Parameter(parameter.detach() - under))
            self.register_buffer(f"base_{name}", under, persistent=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        own, under = dict(self.named_parameters()), dict(self.named_buffers())
        return self._operate(inputs, own["weight"], own.get("bias")) + self._operate(
            inputs, under["base_weight"], under.get("base_bias")
        )

    def _operate(
        self, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        return F.linear(inputs, weight, bias)


class _ConvolutionDifference(_LinearDifference):
    """A convolution that is the sum of a base and a difference."""

    def __init__(self, member: nn.Conv2d, base: nn.Module) -> None:
        super().__init__(member, base)
        self._convolution = partial(
            F.conv2d,
            stride=member.stride,
            padding=member.padding,
            dilation=member.dilation,
            groups=member.groups,
        )

    def _operate(
        self, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        return self._convolution(inputs, weight, bias)
