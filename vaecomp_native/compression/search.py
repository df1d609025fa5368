"""The operating point: which rate weight meets a size, or keeps a score."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from vaecomp_native.compression.encoder import AnyOperator, Encoder, Encoding
from vaecomp_native.compression.operators import NO_COST
from vaecomp_native.progress import Progress, silent
from vaecomp_native.quantization.entropy import total_bits
from vaecomp_native.quantization.feedback import DAMPING, OutOfRangeError

BITS_TOLERANCE = 0.002
MAX_SECANTS = 8
FINEST_BITS = 14.0
"""The bits a weight beyond which quantizing gains nothing: the fine end of the search."""
COARSEST_BITS = -10.0
"""The coarse end of the search, by the same rule: a score that is kept here is always kept."""
OCTAVE_STEPS = (1.0, 0.5, 0.25, 0.125)
"""The steps, in octaves, of the search for the largest rate weight that keeps the score."""
TURNS = 2
"""The rounds of `equalize`. Further ones move multipliers by less than measurement noise."""
MAX_GROUPS = 16
"""The maximum number of operators that `equalize` tries one by one, or of groups of them."""
GROUPS_SHARE = 0.25
"""The share of the held-out batches that groups are tried on."""
LARGEST_MOVE = 3.0
"""The largest factor by which a round of `equalize` moves a multiplier."""
SMALL_MODEL = 1 << 22
"""The maximum number of weights of a model that several encodings are made of."""
DAMPING_FACTORS = (1.0, 0.5, 2.0, 4.0)
"""The factors of the damping that `best_encoding` tries."""
BITS_POWER = 1 / 3
"""About the power of the allowed divergence that bits fall with, on the networks measured."""
MIN_SLOPE = 1e-12
EXPECTED_POINTS = 10
"""About the number of points that a search tries, for the progress display."""


def typical_cost(encoder: Encoder) -> float:
    """The geometric mean of the costs of losing a weight: the unit of rate weights."""
    if not encoder.operators:
        return 1.0
    costs = np.concatenate([operator.costs(encoder.arrays) for operator in encoder.operators])
    return mean_cost(costs, np.concatenate([operator.sizes for operator in encoder.operators]))


def mean_cost(costs: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64]) -> float:
    """The geometric mean of costs [N] of losing a weight of tensors of so many weights [N]."""
    # Zeros and weights that calibration never used say nothing about the others.
    known = costs > NO_COST
    if not known.any():
        return 1.0
    return math.exp(float(np.average(np.log(costs[known]), weights=sizes[known])))


def rate_weight_at(unit: float, bits_per_weight: float) -> float:
    """The rate weight that gives Gaussian weights so many bits each.

    A search for the rate weight of other weights starts here.
    """
    return 2 * math.log(2) * unit * math.pow(4.0, -bits_per_weight)


def rate_weight_for_bits(
    encoder: Encoder, target_bits: float, bits_at: Callable[[float], float]
) -> tuple[float, float]:
    """Find the rate weight whose bits by `bits_at` are nearest to a target, and these bits."""
    weights = sum(operator.elements for operator in encoder.operators)
    return rate_weight_near(weights, typical_cost(encoder), target_bits, bits_at)


def rate_weight_near(
    weights: int, unit: float, target_bits: float, bits_at: Callable[[float], float]
) -> tuple[float, float]:
    """The same for so many `weights` with the typical cost `unit`.

    The secant method works on the rate weight's logarithm.
    """
    weights = max(weights, 1)
    at = math.log2(rate_weight_at(unit, min(target_bits / weights, FINEST_BITS)))
    slope = -weights / 2
    previous: tuple[float, float] | None = None
    best = (math.inf, at, 0.0)
    for _ in range(MAX_SECANTS):
        bits = bits_at(2.0**at)
        best = min(best, (abs(bits - target_bits), at, bits))
        if best[0] <= BITS_TOLERANCE * target_bits:
            break
        if previous is not None and at != previous[0] and bits != previous[1]:
            slope = min((bits - previous[1]) / (at - previous[0]), -weights / 200)
        previous = (at, bits)
        at -= min(max((bits - target_bits) / slope, -6.0), 6.0)
    return math.pow(2.0, best[1]), best[2]


def equalize(encoder: Encoder, rate_weight: float, progress: Progress) -> Encoder:
    """Adjust the operators' multipliers until a bit buys the same divergence everywhere.

    The divergence is measured on held-out batches, with one group's rate weight doubled and halved
    while the others keep theirs. Few operators are a group each.
    """
    groups = grouped([operator.name for operator in encoder.operators])
    is_each = len(groups) == len(encoder.operators)
    turns, share = (TURNS, 1.0) if is_each else (1, GROUPS_SHARE)
    for turn in range(turns):

        def report(done: int, turn: int = turn) -> None:
            progress("allocating", turn * len(groups) + done, turns * len(groups), {})

        slopes, bits = _slopes(encoder, rate_weight, groups, share, report)
        reference = math.exp(float(np.average(np.log(slopes), weights=bits)))
        moves = np.clip(np.sqrt(slopes / reference), 1 / LARGEST_MOVE, LARGEST_MOVE)
        operators = list(encoder.operators)
        for group, move, slope in zip(groups, moves.tolist(), slopes.tolist(), strict=True):
            for number in group:
                operator = operators[number]
                # Weights that calibration never used cost nothing here, but may elsewhere.
                if operator.calibrated or slope > MIN_SLOPE:
                    multiplier = operator.multiplier * move
                    operators[number] = dataclasses.replace(operator, multiplier=multiplier)
        encoder = dataclasses.replace(encoder, operators=operators)
    return encoder


def grouped(names: Sequence[str]) -> list[list[int]]:
    """Put the numbers of operators into at most `MAX_GROUPS` groups.

    Where there are more operators, those make a group whose names differ in numbers only, as those
    of repeated blocks do. If these are too many groups still, neighbouring ones are joined.
    """
    if len(names) <= MAX_GROUPS:
        return [[number] for number in range(len(names))]
    alike: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        alike.setdefault(re.sub(r"\d+", "*", name), []).append(number)
    groups = list(alike.values())
    size = -(-len(groups) // MAX_GROUPS)
    joined = (groups[k : k + size] for k in range(0, len(groups), size))
    return [[number for group in run for number in group] for run in joined]


def _slopes(
    encoder: Encoder,
    rate_weight: float,
    groups: Sequence[Sequence[int]],
    share: float,
    report: Callable[[int], None],
) -> tuple[np.ndarray, np.ndarray]:
    """The divergence that a bit saves in each group, and the bits of the group now.

    `share` of the held-out batches are used. `report` is told how many groups are done.
    """
    assert encoder.model is not None
    encoding = encoder.encode(rate_weight)
    slopes, sizes = [], []
    for done, group in enumerate(groups, 1):
        operators = [encoder.operators[number] for number in group]
        names = [name for operator in operators for name in operator.tensors]
        found = {name: encoding.matrices[name] for name in names if name in encoding.matrices}
        trials = []
        for factor in (2.0, 0.5):
            try:
                bits = sum(_try(encoder, one, rate_weight * factor) for one in operators)
            except OutOfRangeError:
                break
            trials.append((encoder.model.divergence(share), bits))
        encoder.model.replace(
            {name: encoder.arrays[name] for name in names} | encoder.decoded(found)
        )
        slopes.append(_slope(trials))
        sizes.append(max(sum(map(total_bits, found.values())), 1.0))
        report(done)
    known = [slope for slope in slopes if slope is not None]
    fallback = min(known, default=1.0)
    return np.array([fallback if slope is None else slope for slope in slopes]), np.array(sizes)


def _try(encoder: Encoder, operator: AnyOperator, rate_weight: float) -> float:
    """Put an operator into the model as it is at a rate weight. Gives its bits."""
    assert encoder.model is not None
    found = encoder.quantize(operator, rate_weight)
    encoder.model.replace(encoder.decoded(found))
    return sum(map(total_bits, found.values()))


def _slope(trials: list[tuple[float, float]]) -> float | None:
    """The divergence that a bit saves, at least `MIN_SLOPE`.

    None if there are no two trials, or the finer one takes no more bits.
    """
    if len(trials) < 2:
        return None
    (coarse, few), (fine, many) = trials
    if many <= few:
        return None
    return max((coarse - fine) / (many - few), MIN_SLOPE)


def best_encoding(
    encoder: Encoder,
    rate_weight: float,
    progress: Progress,
    expected: Mapping[str, float] | None = None,
) -> Encoding:
    """Make several corrected encodings, and put the best one into the model.

    They differ in their damping. Errors add up over steps and layers, so that equally good choices
    end up far apart, the more so the smaller a model is. A large one is encoded once. The best
    encoding is the one with the lowest product of its bits and the `BITS_POWER` of its divergence
    on held-out batches. `expected` are bits that the operators shall take.
    """
    assert encoder.model is not None
    factors = DAMPING_FACTORS if encoder.parameters <= SMALL_MODEL else DAMPING_FACTORS[:1]
    dampings = [factor * DAMPING for factor in factors]
    best, min_cost = None, math.inf
    encodings = encoder.encode_corrected(
        rate_weight, dampings, expected=expected, progress=progress
    )
    for encoding in encodings:
        put_into_model(encoder, encoding)
        cost = encoding.ideal_bits * encoder.model.divergence() ** BITS_POWER
        if best is None or cost < min_cost:
            best, min_cost = encoding, cost
    assert best is not None
    put_into_model(encoder, best)
    return best


def put_into_model(encoder: Encoder, encoding: Encoding) -> None:
    """Give the encoder's model the decoded weights of an encoding."""
    assert encoder.model is not None
    encoder.model.replace({name: encoder.arrays[name] for name in encoding.unquantizable})
    for name, matrix in encoding.matrices.items():  # together they may not fit in memory
        encoder.model.replace(encoder.decoded({name: matrix}))


def largest_keeping(
    encoder: Encoder,
    score: Callable[[], float],
    min_score: float,
    start: float,
    *,
    correct: bool,
    progress: Progress,
) -> tuple[float | None, float]:
    """Find the largest rate weight whose decoded weights score at least `min_score`.

    `score` measures the module of the encoder's model. Encodings are corrected if `correct`. From
    `start` the search goes down, two octaves at a time, until the score is kept. Then it goes up in
    ever finer steps while the score is kept. Returns the rate weight, None if even about
    `FINEST_BITS` a weight do not keep the score, and the best score seen.
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
