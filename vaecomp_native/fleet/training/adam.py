"""Adam (Kingma & Ba 2015, arXiv 1412.6980), for tensors of which a step changes some rows."""

from __future__ import annotations

import torch


class Adam:
    """Adam on a tensor in place. With `per_row`, rows count their own steps."""

    def __init__(self, values: torch.Tensor, decay: tuple[float, float], *, per_row: bool) -> None:
        self._values = values
        self._decay = decay
        self._first, self._second = torch.zeros_like(values), torch.zeros_like(values)
        self._steps = torch.zeros((len(values), 1) if per_row else 1)
        self._epsilon = 1e-6 if per_row else 1e-8

    def step(self, gradients: torch.Tensor, rate: float, rows: torch.Tensor | None = None) -> None:
        """One step with gradients of the whole tensor, or of these rows."""
        own = slice(None) if rows is None else rows
        first_decay, second_decay = self._decay
        first = self._first[own] * first_decay + gradients * (1 - first_decay)
        second = self._second[own] * second_decay + gradients.square() * (1 - second_decay)
        self._first[own], self._second[own] = first, second
        self._steps[own] += 1
        taken = self._steps[own]
        mean = first / (1 - first_decay**taken)
        size = (second / (1 - second_decay**taken)).sqrt_().add_(self._epsilon)
        with torch.no_grad():
            self._values[own] -= rate * mean / size

    def rescale(self, rows: slice, factors: torch.Tensor) -> None:
        """Columns behind the first were multiplied by factors: gradients are divided by them."""
        self._first[rows, 1:] /= factors
        self._second[rows, 1:] /= factors.square()
