"""Second-order statistics for quantizers: how much a module's output depends on its weights.

An error E of an operator's matrix [W b] moves the output by a divergence of about half the sum over
its rows i of rows[i] * E_i moment E_i^T. This is the Kronecker-factored Fisher information of
Martens & Grosse 2015 (arXiv 1503.05671), but only the diagonal of its second factor is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vaecomp_native.calibration.detection import measure_for
from vaecomp_native.calibration.divergence import Measure
from vaecomp_native.calibration.hooks import Sampler
from vaecomp_native.calibration.interception import hooked
from vaecomp_native.calibration.maps import LinearMap
from vaecomp_native.calibration.moments import Moment, rows_for
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
        moment: float64 [n, n], the mean of x x^T over about `rows_for` positions of all batches
            (and the groups of a convolution). x are the inputs, with a 1 at their end if there is a
            bias.
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
    names: Collection[str] = (),
    *,
    divergence: str | Measure = "auto",
    temperature: float = 4.0,
    seed: int = 0,
    probes: int = 2,
    scratch: Scratch | None = None,
    progress: Progress = silent,
) -> tuple[dict[str, Sensitivity], dict[str, Float64Array]]:
    """Measure the sensitivity of linear maps, by their names, and that of other tensors.

    Gradients are those of `probes` random probes of each batch's outputs, and one backward pass of
    a probe gives all of them. `Probes` says what a sample is, and `measure_for` what `divergence`
    may be. A map that never runs gets zeros. A map that no gradient reaches gets zero rows.

    The tensors `names` of the state dict get the diagonal of the Fisher information, float64 in
    their shapes. It is the sum over batches and probes of squared gradients of whole batches, over
    the numbers of samples and of probes. Its expectation is the mean over samples, in the units of
    `Sensitivity`. A tensor that is no parameter, or that no gradient reaches, gets zeros.

    Large arrays lie in `scratch`. The module is left as it was. Raises CalibrationError like `run`,
    without batches, and for statistics that are not finite.
    """
    probe = _probes(module, batches, divergence, temperature, seed, probes)
    room = scratch or Scratch()
    maps_seen = _Maps(maps, len(batches), room)
    diagonals = _Diagonals(module, names, room)
    samples = 0
    with (
        _differentiable(module),
        _requiring_gradients(module, names) as parameters,
        hooked(module, maps, maps_seen.collect, maps_seen.look_up),
    ):
        for found in _outputs(module, batches, progress):
            samples += probe.samples(found)
            tensors = [*maps_seen.tensors(), *parameters.values()]
            for gradients in probe.gradients(found, tensors):
                split = len(tensors) - len(parameters)
                maps_seen.add(gradients[:split])
                diagonals.add(dict(zip(parameters, gradients[split:], strict=True)))
            maps_seen.clear()
    return maps_seen.results(samples * probes), diagonals.results(samples * probes)


class _Maps:
    """What is seen of the maps in one run after another."""

    def __init__(self, maps: Sequence[LinearMap], batches: int, scratch: Scratch) -> None:
        self._statistics = {
            one: _Statistics(one, -(-rows_for(one.width) // batches), scratch) for one in maps
        }
        self._by_table = {name: self._statistics[one] for one in maps for name in one.weights}
        self._shown: list[tuple[LinearMap, torch.Tensor]] = []
        self._looked_up: list[tuple[str, torch.Tensor, torch.Tensor]] = []

    def collect(self, linear_map: LinearMap, inputs: Sampler, outputs: torch.Tensor) -> None:
        """Take in what an operator sees and gives."""
        self._statistics[linear_map].add(inputs)
        if outputs.requires_grad:
            self._shown.append((linear_map, outputs))

    def look_up(self, name: str, rows: torch.Tensor, outputs: torch.Tensor) -> None:
        """Take in the rows that an embedding gives."""
        if outputs.requires_grad:
            self._looked_up.append((name, rows, outputs))

    def tensors(self) -> list[torch.Tensor]:
        """The tensors of this run whose gradients `add` takes."""
        return [outputs for *_, outputs in self._shown] + [rows for *_, rows in self._looked_up]

    def add(self, gradients: Sequence[torch.Tensor | None]) -> None:
        """Take in a probe's gradients by `tensors`."""
        for (linear_map, _), gradient in zip(self._shown, gradients, strict=False):
            if gradient is not None:
                self._statistics[linear_map].add_gradient(gradient)
        of_lookups = gradients[len(self._shown) :]
        for (name, rows, _), gradient in zip(self._looked_up, of_lookups, strict=True):
            if gradient is not None:
                self._by_table[name].add_lookups(rows, gradient)

    def clear(self) -> None:
        """Forget the run's tensors."""
        self._shown.clear()
        self._looked_up.clear()

    def results(self, gradients: int) -> dict[str, Sensitivity]:
        """Finish after so many `gradients`: the number of samples times the number of probes."""
        return {one.name: found.result(gradients) for one, found in self._statistics.items()}


class _Diagonals:
    """Sums of squared gradients of tensors."""

    def __init__(self, module: nn.Module, names: Collection[str], scratch: Scratch) -> None:
        state = module.state_dict() if names else {}
        self._squares = {
            name: scratch.empty(tuple(state[name].shape), np.float64) for name in names
        }
        for square in self._squares.values():
            square[...] = 0

    def add(self, gradients: Mapping[str, torch.Tensor | None]) -> None:
        """Take in a probe's gradients."""
        for name, gradient in gradients.items():
            if gradient is not None:
                _add_squares(self._squares[name], gradient)

    def results(self, gradients: int) -> dict[str, Float64Array]:
        """Finish after so many `gradients`: the number of samples times the number of probes."""
        for name, square in self._squares.items():
            square /= gradients
            _check_finite(name, square)
        return self._squares


class _Statistics:
    """Sums for one map's sensitivity. Up to `rows` inputs of each use make the moment."""

    def __init__(self, linear_map: LinearMap, rows: int, scratch: Scratch) -> None:
        self._map = linear_map
        self._limit = rows
        self._moment = Moment(linear_map.columns, bias=bool(linear_map.biases), scratch=scratch)
        self._squares = np.zeros(linear_map.rows)
        self._uses = 0
        self._lookups: Float64Array | None = None

    def add(self, inputs: Sampler) -> None:
        """Take in inputs of one use."""
        self._moment.add(inputs(self._limit, self._uses))
        self._uses += 1

    def add_gradient(self, gradient: torch.Tensor) -> None:
        """Take in the gradient [..., rows] of the outputs."""
        self._squares += _squares(gradient.reshape(-1, self._map.rows)).sum(0).cpu().numpy()

    def add_lookups(self, rows: torch.Tensor, gradient: torch.Tensor) -> None:
        """Take in the gradients [M, columns] of rows that were looked up."""
        if self._lookups is None:
            self._lookups = np.zeros(self._map.rows)
        np.add.at(self._lookups, rows.cpu().numpy(), _squares(gradient).mean(1).cpu().numpy())

    def result(self, gradients: int) -> Sensitivity:
        """Finish after so many `gradients`: the number of samples times the number of probes."""
        lookups = None if self._lookups is None else self._lookups / gradients
        sensitivity = Sensitivity(self._moment.mean(), self._squares / gradients, lookups)
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


def _outputs(module: nn.Module, batches: Sequence[Batch], progress: Progress) -> Iterator[Outputs]:
    """Yield the outputs of each batch. Progress is reported when the work on it is done."""
    elements = 0
    for number, batch in enumerate(batches):
        found = run(module, batch, number=number)
        elements += sum(one.numel() for output in found.values() for one in output)
        yield found
        progress("calibration", number + 1, len(batches), {})
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
    module: nn.Module, names: Collection[str]
) -> Iterator[dict[str, nn.Parameter]]:
    """The floating-point parameters of these names. Inside, only these have gradients.

    So the graph does not hold what gradients of the others would need.
    """
    parameters = dict(module.named_parameters(remove_duplicate=False))
    flags = [(parameter, parameter.requires_grad) for parameter in parameters.values()]
    wanted = {
        name: parameter
        for name, parameter in parameters.items()
        if name in names and parameter.is_floating_point()
    }
    try:
        for parameter in parameters.values():
            parameter.requires_grad_(False)
        for parameter in wanted.values():
            parameter.requires_grad_(True)
        yield wanted
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def _squares(values: torch.Tensor) -> torch.Tensor:
    """The squares, as float64 if float32 would lose small ones."""
    largest = float(torch.linalg.vector_norm(values, torch.inf)) if values.numel() else 0.0
    return (values.float() if 1e-12 < largest < 1e12 else values.double()).square()


def _add_squares(total: Float64Array, gradient: torch.Tensor) -> None:
    """Add squares part by part: a gradient may be nearly as large as the model."""
    flat = total.reshape(-1)
    for start, part in enumerate(torch.split(gradient.reshape(-1), SLAB_ELEMENTS)):
        first = start * SLAB_ELEMENTS
        flat[first : first + len(part)] += _squares(part).cpu().numpy()


def _check_finite(name: str, values: Float64Array) -> None:
    if not np.isfinite(values).all():
        raise CalibrationError(
            f"the calibration statistics of {name} are not finite: check the batches' range"
        )
