"""Random probes of a module's output, whose gradients measure how far the output would move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F

DIVERGENCES = ("kl", "mse")


class Probes:
    """A seeded source of scalar functions of an output, whose mean squared gradient is a curvature.

    "kl": the negative log-likelihood of labels drawn from softmax(output / temperature) over the last
    axis. Its mean squared gradients are the Fisher information, the curvature of the divergence
    KL(output before || output after) at that temperature (Martens 2020, arXiv 1412.1193).
    "mse": a projection of the output on normally distributed numbers; the curvature of half the squared
    error.

    Raises ValueError for another divergence, a temperature not above 0, or a count below 1.
    """

    def __init__(self, divergence: str, temperature: float, seed: int, count: int) -> None:
        if divergence not in DIVERGENCES:
            raise ValueError(f"divergence is {divergence!r}: choose from {', '.join(DIVERGENCES)}")
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}: it must be above 0")
        if count < 1:
            raise ValueError(f"probes is {count}: it must be at least 1")
        self._classes = divergence == "kl"
        self._temperature = temperature
        self._generator = torch.Generator().manual_seed(seed)
        self.count = count

    def samples(self, output: torch.Tensor) -> int:
        """Samples in an output: the length of its first axis, if that is not the one of the classes."""
        return len(output) if output.dim() > self._classes else 1

    def gradients(
        self, output: torch.Tensor, tensors: Sequence[torch.Tensor]
    ) -> Iterator[tuple[torch.Tensor | None, ...]]:
        """Gradients of `tensors` for each probe of an output; None where there is none."""
        if not tensors or not output.requires_grad:
            return
        for number in range(1, self.count + 1):
            more = number < self.count
            yield torch.autograd.grad(
                self._probe(output), tensors, retain_graph=more, allow_unused=True
            )

    def _probe(self, output: torch.Tensor) -> torch.Tensor:
        # Random numbers come from the CPU, so that they are the same wherever the module runs.
        if not self._classes:
            projection = torch.randn(output.shape, generator=self._generator)
            return (output * projection.to(output.device)).sum()
        classes = output.shape[-1] if output.dim() > 0 else 1
        logits = output.reshape(-1, classes) / self._temperature
        chances = logits.detach().cpu().softmax(-1)
        labels = torch.multinomial(chances, 1, generator=self._generator)[:, 0]
        return F.cross_entropy(logits, labels.to(logits.device), reduction="sum")
