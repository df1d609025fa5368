"""Random probes of outputs: their gradients measure how far the outputs would move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F

from vaecomp_native.calibration.divergence import Measure, spread
from vaecomp_native.calibration.outputs import Outputs


class Probes:
    """A seeded source of scalar functions of outputs, whose mean squared gradient is a curvature.

    "kl": a probe is the negative log-likelihood of labels drawn from softmax(logits / temperature).
    Its mean squared gradients are the Fisher information, the curvature of the divergence KL(before
    || after) at that temperature (Martens 2020, arXiv 1412.1193).
    "mse": a probe is a projection of the outputs on normally distributed numbers. The curvature
    belongs to half the squared error. For several outputs it belongs to half the sum of their mean
    squared errors relative to their variances.

    Raises ValueError for a temperature not above 0, or a count below 1.
    """

    def __init__(self, measure: Measure, temperature: float, seed: int, count: int) -> None:
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}: it must be above 0")
        if count < 1:
            raise ValueError(f"probes is {count}: it must be at least 1")
        self._measure = measure
        self._temperature = temperature
        self._generator = torch.Generator().manual_seed(seed)
        self.count = count

    def samples(self, outputs: Outputs) -> int:
        """Count the samples in outputs: the length of the first axis, if that is not the classes'.

        Several outputs of "mse" may disagree about it, so a batch counts as one sample.
        """
        classes = self._measure.kind == "kl"
        counted = self._counted(outputs)
        if len(counted) > 1 and not classes:
            return 1
        return len(counted[0]) if counted[0].dim() > classes else 1

    def gradients(
        self, outputs: Outputs, tensors: Sequence[torch.Tensor]
    ) -> Iterator[tuple[torch.Tensor | None, ...]]:
        """Yield the gradients by `tensors` of each probe of outputs; None where there is none."""
        if not tensors or not any(one.requires_grad for one in self._counted(outputs)):
            return
        for number in range(1, self.count + 1):
            more = number < self.count
            yield torch.autograd.grad(
                self._probe(outputs), tensors, retain_graph=more, allow_unused=True
            )

    def _counted(self, outputs: Outputs) -> list[torch.Tensor]:
        return [one for name in self._measure.names(outputs) for one in outputs[name]]

    def _probe(self, outputs: Outputs) -> torch.Tensor:
        if self._measure.kind == "kl":
            likelihoods = [self._likelihood(one) for one in self._counted(outputs)]
            return torch.stack(likelihoods).sum()
        several = len(self._counted(outputs)) > 1
        return torch.stack(
            [
                torch.stack([self._projection(one) for one in output]).sum()
                / (_scale(output) if several else 1.0)
                for output in outputs.values()
            ]
        ).sum()

    # Random numbers come from the CPU, so that they are the same wherever the module runs.

    def _projection(self, output: torch.Tensor) -> torch.Tensor:
        projection = torch.randn(output.shape, dtype=output.dtype, generator=self._generator)
        product = output * projection.conj().to(output.device)
        # Both parts of a complex random number have variance 1/2.
        return product.sum() if not product.is_complex() else 2**0.5 * product.real.sum()

    def _likelihood(self, output: torch.Tensor) -> torch.Tensor:
        logits = self._measure.logits(output) / self._temperature
        logits = logits.reshape(-1, logits.shape[-1])
        if logits.numel() == 0:
            return logits.sum()
        chances = logits.detach().cpu().softmax(-1)
        labels = torch.multinomial(chances, 1, generator=self._generator)[:, 0]
        return F.cross_entropy(logits, labels.to(logits.device), reduction="sum")


def _scale(output: Sequence[torch.Tensor]) -> torch.Tensor:
    """The root of an output's elements times their variance."""
    values = torch.cat([one.detach().flatten() for one in output])
    if values.is_complex():
        values = torch.view_as_real(values)
    return (spread(values) * max(values.numel(), 1)).sqrt()
