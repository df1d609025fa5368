"""The operating point: which rate weight meets a size, or keeps a score."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from vaecomp_native.compression.encoder import Encoder, Encoding
from vaecomp_native.compression.operators import NO_COST
from vaecomp_native.progress import Progress, silent
from vaecomp_native.quantization.entropy import total_bits
from vaecomp_native.quantization.feedback import OutOfRangeError

BITS_TOLERANCE = 0.005
MAX_SECANTS = 8
FINEST_BITS = 14.0
"""Beyond these bits a weight nothing is gained by quantizing."""
COARSEST_BITS = -10.0
"""Where nothing is left to lose, by the same rule: a score that is kept here is kept everywhere."""
OCTAVE_STEPS = (1.0, 0.5, 0.25, 0.125)
"""Steps of the search for the largest rate weight that keeps the score, in octaves, from coarse to fine."""
TURNS = 2
"""Of `equalize`; further ones move multipliers by less than the measurement's noise."""
LARGEST_MOVE = 3.0
DAMPING_FACTORS = (1.0, 0.5, 2.0, 4.0)
"""What `best_encoding` tries."""
BITS_POWER = 1 / 3
"""Bits fall with about this power of the divergence allowed, on the networks measured."""
MIN_SLOPE = 1e-12
EXPECTED_POINTS = 10
"""For the progress display: about how many points a search tries."""


def typical_cost(encoder: Encoder) -> float:
    """What it costs, on (geometric) average, to lose a weight: the unit of rate weights."""
    if not encoder.operators:
        return 1.0
    costs = np.concatenate([operator.costs(encoder.arrays) for operator in encoder.operators])
    sizes = np.concatenate([operator.sizes for operator in encoder.operators])
    # Zeros, and what calibration never used, say nothing about the others.
    known = costs > NO_COST
    if not known.any():
        return 1.0
    return math.exp(float(np.average(np.log(costs[known]), weights=sizes[known])))


def rate_weight_at(unit: float, bits_per_weight: float) -> float:
    """The rate weight that would give so many bits a weight if weights were Gaussian: a place to start from."""
    return 2 * math.log(2) * unit * math.pow(4.0, -bits_per_weight)


def rate_weight_for_bits(encoder: Encoder, target_bits: float) -> float:
    """The rate weight whose encoding's ideal bits are nearest to a target, by the secant method on its logarithm."""
    weights = max(sum(operator.elements for operator in encoder.operators), 1)
    at = math.log2(rate_weight_at(typical_cost(encoder), min(target_bits / weights, FINEST_BITS)))
    slope = -weights / 2
    previous: tuple[float, float] | None = None
    best = (math.inf, at)
    for _ in range(MAX_SECANTS):
        bits = encoder.encode(2.0**at).ideal_bits
        best = min(best, (abs(bits - target_bits), at))
        if best[0] <= BITS_TOLERANCE * target_bits:
            break
        if previous is not None and at != previous[0] and bits != previous[1]:
            slope = min((bits - previous[1]) / (at - previous[0]), -weights / 200)
        previous = (at, bits)
        at -= min(max((bits - target_bits) / slope, -6.0), 6.0)
    return math.pow(2.0, best[1])


def equalize(encoder: Encoder, rate_weight: float, progress: Progress) -> Encoder:
    """Adjust the operators' multipliers until a bit buys the same divergence everywhere.

    The divergence is measured on held-out batches with one operator's rate weight doubled and halved, the others as they
    are.
    """
    for turn in range(TURNS):
        slopes, bits = _slopes(encoder, rate_weight, turn, progress)
        reference = math.exp(float(np.average(np.log(slopes), weights=bits)))
        moves = np.clip(np.sqrt(slopes / reference), 1 / LARGEST_MOVE, LARGEST_MOVE)
        # What calibration never used costs nothing here, but may elsewhere.
        unknown = np.array([not operator.calibrated for operator in encoder.operators])
        moves[unknown & (slopes <= MIN_SLOPE)] = 1.0
        operators = [
            dataclasses.replace(operator, multiplier=operator.multiplier * float(move))
            for operator, move in zip(encoder.operators, moves, strict=True)
        ]
        encoder = dataclasses.replace(encoder, operators=operators)
    return encoder


def _slopes(
    encoder: Encoder, rate_weight: float, turn: int, progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """Divergence that a bit buys in each operator, and the bits that it takes now."""
    assert encoder.model is not None
    encoding = encoder.encode(rate_weight)
    slopes, sizes = [], []
    for number, operator in enumerate(encoder.operators):
        found = {
            name: encoding.matrices[name] for name in operator.tensors if name in encoding.matrices
        }
        trials = []
        for factor in (2.0, 0.5):
            try:
                trial = encoder.quantize(operator, rate_weight * factor)
            except OutOfRangeError:
                break
            encoder.model.replace(encoder.decoded(trial))
            bits = sum(map(total_bits, trial.values()))
            trials.append((encoder.model.divergence(), bits))
        originals = {name: encoder.arrays[name] for name in operator.tensors}
        encoder.model.replace(originals | encoder.decoded(found))
        slopes.append(_slope(trials))
        sizes.append(max(sum(map(total_bits, found.values())), 1.0))
        total = TURNS * len(encoder.operators)
        progress("allocating", turn * len(encoder.operators) + number + 1, total, {})
    known = [slope for slope in slopes if slope is not None]
    fallback = min(known, default=1.0)
    return np.array([fallback if slope is None else slope for slope in slopes]), np.array(sizes)


def _slope(trials: list[tuple[float, float]]) -> float | None:
    """Divergence saved for a bit; None if bits did not change, and very small if they bought nothing."""
    if len(trials) < 2:
        return None
    (coarse, few), (fine, many) = trials
    if many <= few:
        return None
    return max((coarse - fine) / (many - few), MIN_SLOPE)


def best_encoding(encoder: Encoder, rate_weight: float, progress: Progress) -> Encoding:
    """The best of several corrected encodings, which then is in the model.

    They differ in their damping. Where errors add up over steps and layers, equally good choices end up far apart: the divergence on
    held-out batches tells, with the bits that each takes.
    """
    assert encoder.model is not None
    best, min_cost = None, math.inf
    for number, factor in enumerate(DAMPING_FACTORS):
        variant = dataclasses.replace(encoder, damping=encoder.damping * factor)
        encoding = variant.encode(rate_weight, correct=True)
        cost = encoding.ideal_bits * encoder.model.divergence() ** BITS_POWER
        if best is None or cost < min_cost:
            best, min_cost = encoding, cost
        progress("quantizing", number + 1, len(DAMPING_FACTORS), {})
    assert best is not None
    encoder.model.replace(encoder.arrays)
    for name, matrix in best.matrices.items():  # of a large model never all at once
        encoder.model.replace(encoder.decoded({name: matrix}))
    return best


def largest_keeping(
    encoder: Encoder,
    score: Callable[[], float],
    min_score: float,
    start: float,
    *,
    correct: bool,
    progress: Progress,
) -> tuple[float | None, float]:
    """The largest rate weight found whose decoded weights score at least `min_score`, or None, and the best score seen.

    `score` measures the module of the encoder's model, with corrected encodings if `correct`. From `start` the search goes up an octave at a time while the score is kept,
    or down until it is, and then closes in.
    """
    unit = typical_cost(encoder)
    finest, coarsest = rate_weight_at(unit, FINEST_BITS), rate_weight_at(unit, COARSEST_BITS)
    best = -math.inf
    tried = 0

    def keeps(rate_weight: float) -> bool:
        nonlocal best, tried
        if correct:
            best_encoding(encoder, rate_weight, silent)
        else:
            encoder.encode(rate_weight)
        reached = score()
        best, tried = max(best, reached), tried + 1
        progress("searching", tried, max(tried, EXPECTED_POINTS), {"score": reached})
        return reached >= min_score

    at = start
    while not keeps(at):
        at /= 4
        if at < finest:
            return None, best
    for octaves in OCTAVE_STEPS:
        while at < coarsest and keeps(at * 2.0**octaves):
            at *= 2.0**octaves
    return at, best
