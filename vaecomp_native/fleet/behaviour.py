"""Members as functions: what they give for sample inputs, and how far others are from that."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt
import torch

from vaecomp_native.calibration.detection import measure_for
from vaecomp_native.calibration.divergence import Measure, divergence, samples
from vaecomp_native.calibration.running import Batch, outputs, run
from vaecomp_native.calibration.sensitivity import sensitivities
from vaecomp_native.fleet.layout import Layout
from vaecomp_native.tensors import array_to_tensor

Array = npt.NDArray[Any]


class Behaviour:
    """One member's outputs for its batches, and its tensors that no decoder changes."""

    def __init__(
        self,
        student: Student,
        arrays: Mapping[str, Array],
        batches: Sequence[Batch],
    ) -> None:
        # The sequence may make a batch when it is asked for: all members' may not fit in memory.
        self.batches = batches
        student.load(arrays)
        student.decide(batches[0])
        self.outputs = list(outputs(student.module, self.batches))
        self.rest = {
            name: array for name, array in arrays.items() if name not in student.layout.shapes
        }


class Student:
    """A copy of a module that takes its adjustable tensors from a vector."""

    def __init__(self, module: torch.nn.Module, layout: Layout, divergence: str | Measure) -> None:
        self.module = copy.deepcopy(module).eval()
        self.layout = layout
        self._divergence = divergence
        self._tensors = self.module.state_dict(keep_vars=True)
        self._parameters = dict(self.module.named_parameters(remove_duplicate=False))
        for name, parameter in self._parameters.items():
            parameter.requires_grad_(name in layout.shapes and parameter.is_floating_point())

    @property
    def measure(self) -> Measure:
        """What differences of outputs mean; known when the first behaviour is."""
        return Measure.of(self._divergence)

    def decide(self, batch: Batch) -> None:
        """Find the measure from a batch, where only its name is known. Raises CalibrationError."""
        self._divergence = measure_for(self.module, batch, self._divergence)

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Overwrite tensors."""
        with torch.no_grad():
            for name, array in arrays.items():
                self._tensors[name].copy_(array_to_tensor(array))

    def set_vector(self, vector: torch.Tensor) -> None:
        """Overwrite the adjustable tensors with float32 [P]."""
        with torch.no_grad():
            for name, place in self.layout.places.items():
                self._tensors[name].copy_(vector[place].view(self._tensors[name].shape))

    def slope(
        self, vector: torch.Tensor, behaviour: Behaviour, batch: int
    ) -> tuple[float, torch.Tensor]:
        """How far a vector's outputs for one batch are from the member's, and the gradient [P].

        What no gradient reaches, as running means, has the gradient 0.
        """
        self.set_vector(vector)
        self.load(behaviour.rest)
        names = [name for name in self.layout.shapes if name in self._parameters]
        output = run(self.module, behaviour.batches[batch], number=batch)
        loss = divergence(output, behaviour.outputs[batch], self.measure)
        found = torch.autograd.grad(
            loss, [self._parameters[name] for name in names], allow_unused=True
        )
        gradient = torch.zeros_like(vector)
        for name, part in zip(names, found, strict=True):
            if part is not None:
                gradient[self.layout.places[name]] = part.reshape(-1)
        return float(loss.detach()), gradient

    def divergence(self, vector: torch.Tensor, behaviour: Behaviour) -> float:
        """The mean divergence of a vector's outputs from the member's for all its batches."""
        self.set_vector(vector)
        self.load(behaviour.rest)
        now = list(outputs(self.module, behaviour.batches))
        weights = [samples(output, self.measure) for output in now]
        distances = [
            float(divergence(output, before, self.measure)) * weight
            for output, before, weight in zip(now, behaviour.outputs, weights, strict=True)
        ]
        return sum(distances) / sum(weights)

    def sensitivity(self, vector: torch.Tensor, behaviour: Behaviour) -> dict[str, float]:
        """The mean Fisher information of each tensor's elements at a vector.

        It is measured on the member's first batches.
        """
        self.set_vector(vector)
        self.load(behaviour.rest)
        _, found = sensitivities(
            self.module,
            behaviour.batches[:2],
            (),
            self.layout.shapes,
            divergence=self.measure,
            probes=1,
        )
        return {name: float(diagonal.mean()) for name, diagonal in found.items()}


class BatchOrder:
    """Turns through a member's batches in a random order."""

    def __init__(self, count: int, seed: int) -> None:
        self._count = count
        self._random = random.Random(seed)
        self._left: list[int] = []

    def next(self) -> int:
        """The next batch's number."""
        if not self._left:
            self._left = list(range(self._count))
            self._random.shuffle(self._left)
        return self._left.pop()
