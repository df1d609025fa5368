"""The latents of a member for a given decoder: by least squares, or by what the member does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.fleet.decoder import UNIT
from vaecomp_native.fleet.layout import tensor_weights
from vaecomp_native.fleet.pack import Pack
from vaecomp_native.progress import Progress

if TYPE_CHECKING:
    import torch

    from vaecomp_native.calibration.model import CalibratedModel
    from vaecomp_native.fleet.behaviour import Behaviour, Student

Array = npt.NDArray[Any]
Float32Array = npt.NDArray[np.float32]
Int8Array = npt.NDArray[np.int8]
LATENT_COST = 1e-3
"""Nats of divergence, in the mean over samples, that a nat of a latent's code is worth."""
FITTING_STEPS = 100
LEARNING_RATE = 0.3
DEVIATION_RATE = 0.05
FIRST_DEVIATION = 0.05
DECAY = 0.9, 0.95


@dataclass(frozen=True)
class Posterior:
    """What is known of latents: means and deviations, float32 [L].

    Both are in standard deviations of the fleet.
    """

    means: Float32Array
    deviations: Float32Array


def find_latents(
    pack: Pack,
    arrays: Mapping[str, Array],
    model: CalibratedModel | None,
    seed: int,
    progress: Progress,
) -> Int8Array:
    """A member's latents for a pack, int8 [L]: by outputs if there are batches, else by weights.

    Raises ValueError if there are no batches and the pack's decoder is not linear.
    """
    if not pack.latents:
        return np.empty(0, np.int8)
    if model is None or not model.batches:
        if not pack.is_linear:
            raise ValueError("this pack's decoder is not linear: give calibration batches")
        offset, matrix = pack.linear_map
        target = pack.layout.deltas(arrays, offset)
        weights = tensor_weights(pack.base, target[None], pack.layout)
        posterior = least_squares(target, weights, matrix)
    else:
        from vaecomp_native.fleet.behaviour import Behaviour, Student

        assert model.measure is not None
        student = Student(model.module, pack.layout, model.measure)
        behaviour = Behaviour(student, arrays, model.batches)
        posterior = by_function(
            student, behaviour, pack.forward(), pack.latents, seed=seed, progress=progress
        )
    return pack.quantize(posterior.means, posterior.deviations)


def least_squares(target: Float32Array, weights: Float32Array, matrix: Float32Array) -> Posterior:
    """The latents with the smallest weighted squared error of matrix [P, L] @ latents - target [P].

    The deviations follow from the error that is left, as in linear regression.
    """
    weighted = matrix * weights[:, None]
    moments = (weighted.T @ matrix).astype(np.float64)
    ridge = 1e-9 * np.trace(moments) / len(moments) + 1e-30
    moments += ridge * np.eye(len(moments))
    means = np.linalg.solve(moments, (weighted.T @ target).astype(np.float64))
    left = target - matrix @ means.astype(np.float32)
    variance = float(np.dot(weights * left, left)) / max(len(target) - len(means), 1)
    deviations = np.sqrt(np.maximum(np.diag(np.linalg.inv(moments)) * variance, 1e-12))
    return Posterior(
        means.astype(np.float32), np.maximum(deviations, 0.5 / UNIT).astype(np.float32)
    )


def by_function(
    student: Student,
    behaviour: Behaviour,
    forward: Callable[[torch.Tensor], torch.Tensor],
    latents: int,
    *,
    steps: int = FITTING_STEPS,
    seed: int = 0,
    progress: Progress,
) -> Posterior:
    """The posterior N(means, deviations^2) that makes most of the member's outputs.

    It minimizes the expected divergence plus LATENT_COST * KL(posterior || N(0, 1)), with one
    sample a step (Kingma & Welling 2014, arXiv 1312.6114), from zeros, by Adam. `forward` makes
    the vector [P] of latents [L].
    """
    import torch

    from vaecomp_native.fleet.behaviour import BatchOrder

    generator = torch.Generator().manual_seed(seed)
    means = torch.zeros(latents, requires_grad=True)
    spread = torch.full((latents,), math.log(FIRST_DEVIATION), requires_grad=True)
    optimizer = torch.optim.Adam(
        [{"params": [means], "lr": LEARNING_RATE}, {"params": [spread], "lr": DEVIATION_RATE}],
        betas=DECAY,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order = BatchOrder(len(behaviour.batches), seed)
    for step in range(steps):
        noise = torch.randn(latents, generator=generator)
        vector = forward(means + spread.exp() * noise)
        loss, gradient = student.slope(vector.detach(), behaviour, order.next())
        prior = 0.5 * (means.square() + (2 * spread).exp() - 2 * spread).sum()
        optimizer.zero_grad()
        torch.autograd.backward([vector, LATENT_COST * prior], [gradient, None])
        optimizer.step()
        schedule.step()
        progress("latents", step + 1, steps, {"divergence": loss})
    with torch.no_grad():
        return Posterior(means.numpy().copy(), spread.exp().clamp(max=1.0).numpy().copy())
