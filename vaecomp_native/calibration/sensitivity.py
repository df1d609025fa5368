"""Second-order statistics for quantizers: how much a module's output depends on its weights.

An error E of an operator's matrix [W b] moves the output by a divergence of about half the sum over
its rows i of rows[i] * E_i moment E_i^T. This is the Kronecker-factored Fisher information of
Martens & Grosse 2015 (arXiv 1503.05671), but only the diagonal of its second factor is kept.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vaecomp_native.calibration.detection import measure_for
from vaecomp_native.calibration.divergence import Measure
from vaecomp_native.calibration.interception import hooked
from vaecomp_native.calibration.maps import LinearMap
from vaecomp_native.calibration.moments import Moment
from vaecomp_native.calibration.outputs import Outputs
from vaecomp_native.calibration.probes import Probes
from vaecomp_native.calibration.running import Batch, evaluation, ordinary_tensors, run
from vaecomp_native.errors import CalibrationError
from vaecomp_native.io.scratch import Scratch
from vaecomp_native.progress import Progress, silent
from vaecomp_native.quantization.matrix import SLAB_ELEMENTS

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sensitivity:
    """What an operator sees and causes, for its `LinearMap.matrix` [rows, n].

    Args:
        moment: float64 [n, n], the mean of x x^T over the positions of all batches (and the groups
            of a convolution). x are the inputs, with a 1 at their end if there is a bias.
        rows: float64 [rows], the mean over samples of the sum over positions of the squared
            gradients of the outputs.
        lookups: float64 [rows], the same of the rows themselves where embeddings look them up, the
            mean over columns; None if none does.
    """

    moment: Float64Array
    rows: Float64Array
    lookups: Float64Array | None = None


def sensitivities(
    module: nn.Module,
    batches: Sequence[Batch],
    maps: Sequence[LinearMap],
    *,
    divergence: str | Measure = "auto",
    temperature: float = 4.0,
    seed: int = 0,
    probes: int = 2,
    scratch: Scratch | None = None,
    progress: Progress | None = None,
) -> dict[str, Sensitivity]:
    """Measure the sensitivity of each of `maps`, by its name.

    Gradients are those of `probes` random probes of each batch's outputs. `Probes` says what a
    sample is, and `measure_for` what `divergence` may be. A map that never runs gets zeros. A map
    that no gradient reaches gets zero rows. Moments lie in `scratch`. The module is left as it was.

    Raises CalibrationError like `run`, without batches, and if a map's statistics are not finite.
    """
    probe = _probes(module, batches, divergence, temperature, seed, probes)
    room = scratch or Scratch()
    statistics = {linear_map: _Statistics(linear_map, room) for linear_map in maps}
    by_table = {name: statistics[one] for one in maps for name in one.weights}
    shown: list[tuple[Float64Array, torch.Tensor]] = []
    looked_up: list[tuple[str, torch.Tensor, torch.Tensor]] = []

    def collect(linear_map: LinearMap, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
        squares = statistics[linear_map].add(inputs)
        if outputs.requires_grad:
            shown.append((squares, outputs))

    def look_up(name: str, rows: torch.Tensor, outputs: torch.Tensor) -> None:
        if outputs.requires_grad:
            looked_up.append((name, rows, outputs))

    samples = 0
    with _differentiable(module), hooked(module, maps, collect, look_up):
        for found in _outputs(module, batches, progress):
            samples += probe.samples(found)
            tensors = [outputs for *_, outputs in shown] + [rows for *_, rows in looked_up]
            for gradients in probe.gradients(found, tensors):
                for (squares, _), gradient in zip(shown, gradients, strict=False):
                    if gradient is not None:
                        squares += gradient.double().square().sum(0).cpu().numpy()
                of_lookups = gradients[len(shown) :]
                for (name, rows, _), gradient in zip(looked_up, of_lookups, strict=True):
                    if gradient is not None:
                        by_table[name].add_lookups(rows, gradient)
            shown.clear()
            looked_up.clear()
    return {
        linear_map.name: statistic.result(samples * probes)
        for linear_map, statistic in statistics.items()
    }


def diagonal_sensitivity(
    module: nn.Module,
    batches: Sequence[Batch],
    names: Iterable[str],
    *,
    divergence: str | Measure = "auto",
    temperature: float = 4.0,
    seed: int = 0,
    probes: int = 2,
    scratch: Scratch | None = None,
    progress: Progress | None = None,
) -> dict[str, Float64Array]:
    """Measure the diagonal of the Fisher information for tensors of the state dict.

    It has the tensors' shapes, float64. It is the sum over batches and probes of squared gradients
    of whole batches, over the numbers of samples and of probes. Its expectation is the mean over
    samples, in the units of `Sensitivity`. A tensor that is no parameter, or that no gradient
    reaches, gets zeros. The arrays lie in `scratch`. The module is left as it was.

    Raises CalibrationError like `run`, without batches, and for gradients that are not finite.
    """
    state = module.state_dict()
    room = scratch or Scratch()
    squares = {name: room.empty(tuple(state[name].shape), np.float64) for name in names}
    if not squares:
        return {}
    probe = _probes(module, batches, divergence, temperature, seed, probes)
    for square in squares.values():
        square[...] = 0
    samples = 0
    with _differentiable(module), _requiring_gradients(module, squares) as parameters:
        for found in _outputs(module, batches, progress):
            samples += probe.samples(found)
            for gradients in probe.gradients(found, list(parameters.values())):
                for name, gradient in zip(parameters, gradients, strict=True):
                    if gradient is not None:
                        _add_squares(squares[name], gradient)
    for name, square in squares.items():
        square /= samples * probes
        _check_finite(name, square)
    return squares


class _Statistics:
    """Sums for one map's sensitivity."""

    def __init__(self, linear_map: LinearMap, scratch: Scratch) -> None:
        self._map = linear_map
        self._moment = Moment(linear_map.columns, bias=bool(linear_map.biases), scratch=scratch)
        self._squares = np.zeros((linear_map.groups, linear_map.rows // linear_map.groups))
        self._calls = 0
        self._lookups: Float64Array | None = None

    def add_lookups(self, rows: torch.Tensor, gradient: torch.Tensor) -> None:
        """Take in the gradients [M, columns] of rows that were looked up."""
        if self._lookups is None:
            self._lookups = np.zeros(self._map.rows)
        np.add.at(
            self._lookups, rows.cpu().numpy(), gradient.double().square().mean(1).cpu().numpy()
        )

    def add(self, inputs: torch.Tensor) -> Float64Array:
        """Take in inputs. Gives the array to which their outputs' squared gradients are added."""
        self._moment.add(inputs)
        squares: Float64Array = self._squares[self._calls % self._map.groups]
        self._calls += 1
        return squares

    def result(self, gradients: int) -> Sensitivity:
        """Finish after so many `gradients`: the number of samples times the number of probes."""
        lookups = None if self._lookups is None else self._lookups / gradients
        rows = self._squares.flatten() / gradients
        sensitivity = Sensitivity(self._moment.mean(), rows, lookups)
        _check_finite(self._map.name, sensitivity.moment)
        _check_finite(self._map.name, sensitivity.rows)
        return sensitivity


def _probes(
    module: nn.Module,
    batches: Sequence[Batch],
    divergence: str | Measure,
    temperature: float,
    seed: int,
    count: int,
) -> Probes:
    if len(batches) == 0:
        raise CalibrationError("there are no calibration batches: give at least one")
    return Probes(measure_for(module, batches[0], divergence), temperature, seed, count)


def _outputs(
    module: nn.Module, batches: Sequence[Batch], progress: Progress | None
) -> Iterator[Outputs]:
    """Yield the outputs of each batch. Progress is reported when the work on it is done."""
    report = progress or silent
    elements = 0
    for number, batch in enumerate(batches):
        found = run(module, batch, number=number)
        elements += sum(one.numel() for output in found.values() for one in output)
        yield found
        report("calibration", number + 1, len(batches), {})
    if elements == 0:
        raise CalibrationError(
            "the module's outputs are empty for all calibration batches: give some for which it "
            "finds something"
        )


@contextmanager
def _differentiable(module: nn.Module) -> Iterator[None]:
    """Evaluation mode with gradients, even if the caller has switched them off."""
    # cuDNN's recurrent kernels have no backward pass in evaluation mode.
    recurrent = any(isinstance(part, nn.RNNBase) for part in module.modules())
    kernels = torch.backends.cudnn.flags(enabled=False) if recurrent else nullcontext()
    with (
        evaluation(module),
        torch.inference_mode(False),
        torch.enable_grad(),
        ordinary_tensors(module),
        kernels,
    ):
        yield


@contextmanager
def _requiring_gradients(
    module: nn.Module, names: Container[str]
) -> Iterator[dict[str, nn.Parameter]]:
    """The floating-point parameters of these names, with gradients inside the block."""
    parameters = {
        name: parameter
        for name, parameter in module.named_parameters(remove_duplicate=False)
        if name in names and parameter.is_floating_point()
    }
    flags = [(parameter, parameter.requires_grad) for parameter in parameters.values()]
    try:
        for parameter in parameters.values():
            parameter.requires_grad_(True)
        yield parameters
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def _add_squares(total: Float64Array, gradient: torch.Tensor) -> None:
    """Add squares part by part: a gradient may be nearly as large as the model."""
    flat = total.reshape(-1)
    for start, part in enumerate(torch.split(gradient.reshape(-1), SLAB_ELEMENTS)):
        first = start * SLAB_ELEMENTS
        flat[first : first + len(part)] += part.double().square().cpu().numpy()


def _check_finite(name: str, values: Float64Array) -> None:
    if not np.isfinite(values).all():
        raise CalibrationError(
            f"the calibration statistics of {name} are not finite: check the batches' range"
        )
