"""The gradient loop that trains a fleet's decoder by what its members do.

It is a variational autoencoder without an encoder. Each member has a posterior of its own: means
and deviations of its latents. All share the decoder. It minimizes, over members and their batches,

    divergence(outputs of base + decoder(latents) || the member's outputs)
        + LATENT_COST * KL(posterior || N(0, 1)) + decoder_rate_weight * bits of the decoder

with one sample of the posterior a step (Kingma & Welling 2014, arXiv 1312.6114). The decoder's
symbols are rounded as they will be stored, with the derivative of the identity (Bengio et al. 2013,
arXiv 1308.3432). A symbol's bits are taken as log2(1 + |q|).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vaecomp_native.decoders import Float32Array
from vaecomp_native.errors import TrainingError
from vaecomp_native.fleet.behaviour import BatchOrder, Behaviour, Student
from vaecomp_native.fleet.decoder import DEAD_ZONE, MAX_SYMBOL, HiddenLayer, LatentPlan
from vaecomp_native.fleet.latents import FIRST_DEVIATION, LATENT_COST
from vaecomp_native.fleet.training.adam import Adam
from vaecomp_native.fleet.training.components import Components
from vaecomp_native.fleet.training.features import Features, first_columns
from vaecomp_native.progress import Progress

MEMBERS_A_STEP = 16
STEPS_A_LEARNING_RATE = 60.0
"""The columns' learning rate is the median weight's step divided by this."""
LATENT_RATE = 0.05
HIDDEN_RATE = 0.003
STANDARDIZE_EVERY = 50
REPORT_EVERY = 10


@dataclass(frozen=True)
class TrainingOptions:
    """What `fleet.train` was asked for.

    `decoder_rate_weight` is the mean divergence that a bit of the decoder must save. `common_cost`
    is what a nat of the common latents counts, relative to one of the local ones.
    """

    steps: int
    decoder_rate_weight: float
    common_cost: float
    seed: int


@dataclass(frozen=True)
class Trained:
    """Columns [P, 1 + n], and the members' posteriors [N, L].

    The blocks' hidden layers are there if the plan has any.
    """

    columns: Float32Array
    means: Float32Array
    deviations: Float32Array
    hidden: Sequence[HiddenLayer]
    history: Sequence[dict[str, float]]


def information(trained: Trained) -> Float32Array:
    """Bits that each latent tells of a member, float32 [L]: the mean KL(posterior || N(0, 1))."""
    means, deviations = trained.means, trained.deviations
    nats = 0.5 * (np.square(means) + np.square(deviations) - 1.0) - np.log(deviations)
    bits: Float32Array = nats.mean(0) / np.float32(math.log(2.0))
    return bits


def train_by_function(
    student: Student,
    members: Sequence[Behaviour],
    base: Float32Array,
    start: Components,
    steps: Float32Array,
    plan: LatentPlan,
    options: TrainingOptions,
    progress: Progress,
) -> Trained:
    """Train from principal components.

    `base` is float32 [P], and `steps` [P] is what a symbol of each weight stands for. Raises
    TrainingError if the divergence is not finite.
    """
    training = _Training(student, members, base, start, steps, plan, options)
    history: list[dict[str, float]] = []
    recent = 0.0
    for step in range(1, options.steps + 1):
        recent += training.step(step) / REPORT_EVERY
        if step % STANDARDIZE_EVERY == 0:
            training.standardize()
        if step % REPORT_EVERY == 0:
            if not math.isfinite(recent):
                raise TrainingError(
                    "the decoder's training did not converge: use fewer latents, or a smaller "
                    "decoder_rate_weight"
                )
            history.append({"step": step, "divergence": recent})
            progress("training the decoder", step, options.steps, {"divergence": recent})
            recent = 0.0
    return training.result(history)


class _Training:
    """Parameters, their optimizers' moments, and one step."""

    def __init__(
        self,
        student: Student,
        members: Sequence[Behaviour],
        base: Float32Array,
        start: Components,
        steps: Float32Array,
        plan: LatentPlan,
        options: TrainingOptions,
    ) -> None:
        self._student, self._members, self._options = student, members, options
        self._base = torch.from_numpy(base)
        self._steps = torch.from_numpy(steps)[:, None]
        self._features = Features(student.layout, plan, options.seed)
        self._columns = first_columns(start, plan)
        self._means = torch.from_numpy(start.latents.copy())
        self._spread = torch.full_like(self._means, math.log(FIRST_DEVIATION))
        self._hidden_adam = [
            Adam(tensor, (0.9, 0.99), per_row=False) for tensor in self._features.parameters
        ]
        self._columns_adam = Adam(self._columns, (0.9, 0.99), per_row=False)
        self._means_adam = Adam(self._means, (0.8, 0.9), per_row=True)
        self._spread_adam = Adam(self._spread, (0.8, 0.9), per_row=True)
        self._rate = float(self._steps.median()) / STEPS_A_LEARNING_RATE
        self._cost = torch.full((plan.latents,), LATENT_COST)
        self._cost[: plan.common] *= options.common_cost
        self._random = torch.Generator().manual_seed(options.seed)
        self._order = BatchOrder(len(members), options.seed)
        self._batches = [
            BatchOrder(len(member.batches), options.seed + number)
            for number, member in enumerate(members)
        ]

    def step(self, number: int) -> float:
        """One step; gives the mean divergence."""
        chosen = [self._order.next() for _ in range(min(MEMBERS_A_STEP, len(self._members)))]
        rows = torch.tensor(sorted(set(chosen)))
        deviations = self._spread[rows].exp()
        noise = torch.randn(deviations.shape, generator=self._random) * deviations
        latents = (self._means[rows] + noise).requires_grad_()
        features = self._features.of(latents)
        rounded = self._rounded()
        vectors = self._vectors(features, rounded)
        gradients = torch.empty_like(vectors)
        total = 0.0
        for row, (member, vector) in enumerate(zip(rows.tolist(), vectors, strict=True)):
            batch = self._batches[member].next()
            loss, gradients[row] = self._student.slope(vector, self._members[member], batch)
            total += loss
        to_columns, to_features = self._backward(gradients, features, rounded)
        to_columns /= len(rows)
        to_latents, *to_hidden = torch.autograd.grad(
            features, [latents, *self._features.parameters], to_features
        )
        per_nat = self._options.decoder_rate_weight / math.log(2.0)
        to_columns += per_nat * torch.sign(self._columns) / (self._steps + self._columns.abs())
        decay = 0.5 * (1.0 + math.cos(math.pi * number / self._options.steps))
        self._columns_adam.step(to_columns, self._rate * decay)
        for adam, to_layer in zip(self._hidden_adam, to_hidden, strict=True):
            adam.step(to_layer / len(rows), HIDDEN_RATE * decay)
        means = self._means[rows]
        self._means_adam.step(to_latents + self._cost * means, LATENT_RATE * decay, rows)
        to_spread = to_latents * noise + self._cost * (deviations.square() - 1.0)
        self._spread_adam.step(to_spread, LATENT_RATE * decay, rows)
        return total / len(rows)

    def standardize(self) -> None:
        """Give the latents the mean 0 and the deviation 1 over the fleet again.

        What is decoded stays as it is.
        """
        mean, deviation = self._means.mean(0), self._means.std(0).clamp_min(1e-3)
        self._means.sub_(mean).div_(deviation)
        self._spread.sub_(deviation.log())
        if self._features.layers:
            self._features.absorb(mean, deviation)
            return
        for rows, own in zip(self._features.rows, self._features.latents, strict=True):
            columns = self._columns[rows]
            columns[:, 0] += columns[:, 1:] @ mean[own]
            columns[:, 1:] *= deviation[own]
            self._columns_adam.rescale(rows, deviation[own])

    def result(self, history: Sequence[dict[str, float]]) -> Trained:
        """What has been found."""
        deviations = self._spread.exp().clamp(max=1.0)
        hidden = self._features.hidden()
        return Trained(
            self._columns.numpy(), self._means.numpy(), deviations.numpy(), hidden, history
        )

    def _vectors(self, features: Sequence[torch.Tensor], columns: torch.Tensor) -> torch.Tensor:
        """What is decoded, [B, P], for each block's features [B, 1 + n]."""
        parts = [
            x.detach() @ columns[rows].T
            for x, rows in zip(features, self._features.rows, strict=True)
        ]
        return torch.cat(parts, 1) + self._base

    def _backward(
        self, gradients: torch.Tensor, features: Sequence[torch.Tensor], columns: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """From gradients [B, P] to those of the columns and of each block's features.

        Those of the columns are summed over the batch.
        """
        to_columns = torch.empty_like(columns)
        to_features = []
        for x, rows in zip(features, self._features.rows, strict=True):
            to_columns[rows] = gradients[:, rows].T @ x.detach()
            to_features.append(gradients[:, rows] @ columns[rows])
        return to_columns, to_features

    def _rounded(self) -> torch.Tensor:
        magnitude = torch.floor(self._columns.abs() / self._steps + DEAD_ZONE)
        magnitude.clamp_(max=MAX_SYMBOL)
        return magnitude.mul_(torch.sign(self._columns)).mul_(self._steps)
