"""Which divergence fits a module's outputs: by their names, their values and who made them."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from vaecomp_native.calibration.divergence import Measure, is_logits
from vaecomp_native.calibration.outputs import numbers, outputs_of
from vaecomp_native.calibration.running import Batch, evaluation, results
from vaecomp_native.errors import CalibrationError

HIDDEN = re.compile(r"hidden|embed|pool|feature|attention|state|mems|router|encoder|decoder")
"""In names of outputs that other layers are to read; beside logits they do not count."""
HEADS = re.compile(r"^torch\.nn\.modules\.(linear\.(Linear|Bilinear)|conv\.\w+)\.forward$")
"""Methods whose outputs are logits if they are the last; a subclass may have one of its own."""
HIDDEN_LAYERS = re.compile(
    r"^torch\.nn\.modules\.(activation|batchnorm|instancenorm|normalization|rnn|sparse)\.\w+"
    r"\.forward$"
    r"|\.activations?\.\w+\.forward$|Norm(\dd)?\.forward$"
)
"""Methods whose outputs are no logits: of activations, norms, recurrent layers, embeddings."""
TOLERANCES = {torch.float16: 0.01, torch.bfloat16: 0.05}
TOLERANCE = 1e-3
"""How far sums of probabilities may be from 1."""

Makers = Callable[[torch.Tensor], nn.Module | None]


def measure_for(module: nn.Module, batch: Batch, divergence: str | Measure = "auto") -> Measure:
    """The measure asked for, or for "auto" the one that fits what the module gives for a batch.

    - Outputs called logits, beside hidden ones at most: "kl". Several outputs, hidden states,
      embeddings, complex numbers, and one number for each sample: "mse".
    - One tensor of probabilities, or of their logarithms: "kl".
    - One tensor made by a linear or convolutional layer: "kl", if it has not an input's shape, as a
      reconstruction has. Made by an activation, norm, recurrent layer or embedding: "mse".

    Classes are on the axis that probabilities add up to 1 on, the channels' axis of a convolution,
    the last axis of a linear layer; else on axis 1 of a tensor with four axes or more, as
    `torch.nn.functional.cross_entropy` has them, and the last one of others.

    Raises:
        ValueError: for another name than "auto", "kl" and "mse".
        CalibrationError: nothing tells logits from other numbers, or "kl" is asked for and there
            are no classes; as `run` does.
    """
    if isinstance(divergence, Measure):
        return divergence
    if divergence != "auto" and Measure(divergence).kind == "mse":
        return Measure("mse")
    with evaluation(module), torch.no_grad(), _makers(module) as maker_of:
        found = results(module, batch)
        counted = Measure("kl").names(found)
        tensors = [numbers(one) for name in counted for one in found[name]]
        first = found[counted[0]][0]
        maker = maker_of(first) if len(tensors) == 1 else None
    measure = _measure_of_classes(tensors, maker, TOLERANCES.get(first.dtype, TOLERANCE))
    if divergence == "kl":
        _check_classes(measure, tensors)
        return measure
    if any(map(is_logits, counted)):
        others = [name for name in found if name not in counted and not HIDDEN.search(name)]
        return Measure("mse") if others or _are_single(measure, tensors) else measure
    if len(tensors) > 1 or HIDDEN.search(counted[0]) or tensors[0].is_complex():
        return Measure("mse")
    return _measure_of_one(measure, tensors[0], maker, batch)


def _measure_of_one(
    measure: Measure, output: torch.Tensor, maker: nn.Module | None, batch: Batch
) -> Measure:
    if _are_single(measure, [output]):
        return Measure("mse")
    if maker is not None and HEADS.search(_method(maker)):
        if any(one.shape == output.shape for one in _inputs(batch)):
            raise CalibrationError(_question(output, ", in the shape of an input,"))
        return measure
    if measure.axis is not None:
        return measure
    if maker is not None:
        return Measure("mse")
    raise CalibrationError(_question(output))


def _question(output: torch.Tensor, which: str = "") -> str:
    return (
        f"divergence='auto' cannot tell what the module's output {list(output.shape)}{which} "
        "means: give Calibration(batches, divergence='kl') if it is logits of classes, or 'mse' if it "
        "is other numbers"
    )


def _measure_of_classes(
    tensors: list[torch.Tensor], maker: nn.Module | None, tolerance: float
) -> Measure:
    """The measure of logits, and where a single tensor has its classes."""
    if len(tensors) == 1:
        distribution = _distribution(tensors[0], tolerance)
        if distribution is not None:
            return distribution
        if isinstance(maker, _ConvNd):
            return Measure("kl", -1 - len(maker.kernel_size))
        if maker is not None and HEADS.search(_method(maker)):
            return Measure("kl", -1)
    return Measure("kl")


def _check_classes(measure: Measure, tensors: list[torch.Tensor]) -> None:
    if any(one.is_complex() for one in tensors):
        raise CalibrationError(
            "divergence='kl' takes real logits, and outputs are complex: use 'mse'"
        )
    if _are_single(measure, tensors):
        raise CalibrationError(
            f"divergence='kl' compares classes, and the module's output {list(tensors[0].shape)} "
            "has one: it would always be 0; use divergence='mse'"
        )


def _are_single(measure: Measure, tensors: list[torch.Tensor]) -> bool:
    """Whether there is one number where classes would be."""
    known = measure.axis is not None
    return all(
        measure.logits(one).shape[-1] == 1 or (not known and one.shape[-1] == 1) for one in tensors
    )


def _distribution(output: torch.Tensor, tolerance: float) -> Measure | None:
    """The measure for an output whose values are probabilities or their logarithms."""
    if output.is_complex() or output.numel() == 0:
        return None
    for axis in (-1, 1) if output.dim() > 2 else (-1,) if output.dim() > 0 else ():
        if output.shape[axis] == 1:
            continue
        if bool(output.min() >= 0) and _is_near(output.sum(axis), 1.0, tolerance):
            return Measure("kl", axis, probabilities=True)
        if bool(output.max() <= tolerance) and _is_near(output.logsumexp(axis), 0.0, tolerance):
            return Measure("kl", axis)
    return None


def _is_near(values: torch.Tensor, goal: float, tolerance: float) -> bool:
    return bool(((values - goal).abs() <= tolerance).all())


def _inputs(batch: Batch) -> list[torch.Tensor]:
    """The floating-point tensors of a batch."""
    return [one for output in outputs_of(batch).values() for one in output]


@contextmanager
def _makers(module: nn.Module) -> Iterator[Makers]:
    """Inside, it is known which head or hidden layer of the module made a tensor."""
    made: dict[int, tuple[weakref.ref[torch.Tensor], int, nn.Module]] = {}

    def note(layer: nn.Module, _: Any, result: Any) -> None:
        for one in result if isinstance(result, tuple) else (result,):
            if isinstance(one, torch.Tensor):
                made[id(one)] = weakref.ref(one), _version(one), layer

    def maker_of(tensor: torch.Tensor) -> nn.Module | None:
        reference, version, layer = made.get(id(tensor), (None, 0, None))
        unchanged = reference is not None and reference() is tensor and _version(tensor) == version
        return layer if unchanged else None

    with ExitStack() as hooks:
        for layer in module.modules():
            if HEADS.search(_method(layer)) or HIDDEN_LAYERS.search(_method(layer)):
                handle = layer.register_forward_hook(note)
                hooks.callback(handle.remove)
        yield maker_of


def _method(layer: nn.Module) -> str:
    """The full name of what a layer runs."""
    forward = getattr(type(layer), "forward", None)
    return f"{getattr(forward, '__module__', '')}.{getattr(forward, '__qualname__', '')}"


def _version(tensor: torch.Tensor) -> int:
    """Another number after a change in place; tensors of inference mode do not count them."""
    return 0 if tensor.is_inference() else tensor._version
