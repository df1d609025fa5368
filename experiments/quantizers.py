"""Quantizers beside each other on real latents and on real weights.

Variational Bayesian quantization (Yang, Bamler, Mandt 2020, arXiv 2002.08158) is said to take 33 to
60 percent fewer bits than uniform quantization with entropy coding below 2.5 bits a number. Each data set
is quantized at many rate weights; what counts is bits at equal errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import nn

from experiments import posteriors
from experiments.measures.quantizers import QUANTIZERS, codings
from experiments.measures.savings import Curve, frontier, percent_fewer
from experiments.networks.classifiers import PARAMETERS
from experiments.networks.training import train_network
from experiments.posteriors import Source
from experiments.results.quantizers import (
    ERRORS,
    RATES,
    DataSet,
    Point,
    QuantizerResult,
    Saving,
)
from vaecomp_native.demo import machine
from vaecomp_native.demo.digits import MnistData
from vaecomp_native.progress import Progress, silent

BASELINE = "uniform"
UNIFORM_BITS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
"""Bits a number of the baseline at which the others are compared with it."""

BETAS = (1e-3, 1.0)
"""Weights of the divergence in the autoencoders' loss: that of the codec, and the evidence's own."""

VAE_EPOCHS = 500
"""At most; training stops early."""

RATE_FACTORS: dict[str, float] = {"uniform": 2**0.5, "vbq": 2**0.5}
"""Ratio of neighbouring rate weights; of quantizers that are not named here it is 2."""

FIRST_RATE_WEIGHT = 8.0
"""Of the distortion of decoding to zeros; next to nothing is coded there."""

MOST_BITS = 5.0
MOST_POINTS = 50
"""Where a curve ends: bits a number, and rate weights tried."""


def run(
    data: MnistData,
    *,
    models: Sequence[str] = tuple(PARAMETERS),
    classifier_epochs: int | None = None,
    betas: Sequence[float] = BETAS,
    epochs: int = VAE_EPOCHS,
    rate_factors: Mapping[str, float] = RATE_FACTORS,
    seed: int = 0,
    progress: Progress = silent,
    notice: Callable[[str], None] = lambda line: None,
    publish: Callable[[QuantizerResult], None] = lambda result: None,
) -> QuantizerResult:
    """Run the experiment.

    ``publish`` gets the result after each data set, so that an interruption loses none that is
    finished. ``classifier_epochs`` defaults to what suits the network and the data; ``epochs`` are
    those of the autoencoders, one for each of ``betas``, at most. Training runs on torch's number of threads.
    """
    notice(f"data: {data.notice}")
    networks = {
        name: train_network(
            name, data, epochs=classifier_epochs, seed=seed, progress=progress
        ).model
        for name in models
    }
    result = QuantizerResult((), _settings(data, models, seed), machine.describe())
    for make in _sources(networks, data, betas, epochs, seed, progress):
        measured = _measure(make(), rate_factors, progress)
        result = replace(result, data_sets=(*result.data_sets, measured))
        publish(result)
        notice(_summary(measured))
    return result


def _sources(
    networks: Mapping[str, nn.Module],
    data: MnistData,
    betas: Sequence[float],
    epochs: int,
    seed: int,
    progress: Progress,
) -> list[Callable[[], Source]]:
    """Makers of the data sets: a data set is made when its turn has come."""
    weights = [
        partial(posteriors.weights, name, model, data, seed=seed, progress=progress)
        for name, model in networks.items()
    ]
    latents = [
        partial(
            posteriors.latents, networks, beta=beta, epochs=epochs, seed=seed, progress=progress
        )
        for beta in betas
    ]
    return [*weights, *latents]


def _measure(source: Source, rate_factors: Mapping[str, float], progress: Progress) -> DataSet:
    points: list[Point] = []
    for done, quantizer in enumerate(QUANTIZERS, start=1):
        points += _points(source, quantizer, rate_factors.get(quantizer, 2.0))
        progress(f"coding {source.name}", done, len(QUANTIZERS), {"points": len(points)})
    variances = np.concatenate([block.ravel() for block in source.posterior.variances])
    return DataSet(
        name=source.name,
        numbers=source.posterior.size,
        channels=sum(block.shape[1] for block in source.posterior.means),
        spread=_rounded(float(np.log10(variances).std())),
        effect_name=source.effect_name,
        points=tuple(points),
        savings=tuple(_savings(points)),
    )


def _points(source: Source, quantizer: str, factor: float) -> Iterator[Point]:
    """Points from next to no bits to `MOST_BITS`."""
    nothing = source.posterior.distortion(
        [np.zeros_like(block) for block in source.posterior.means]
    )
    for number in range(MOST_POINTS):
        found = codings(source.posterior, quantizer, FIRST_RATE_WEIGHT * nothing / factor**number)
        same = found[0] is found[1]
        for coding, best_by in zip(found, ("both",) if same else RATES, strict=False):
            yield Point(
                quantizer=quantizer,
                tables=coding.tables,
                best_by=best_by,
                rate_weight=_rounded(coding.rate_weight),
                bits=_rounded(coding.bits),
                symbol_bits=_rounded(coding.symbol_bits),
                distortion=_rounded(coding.distortion),
                effect=_rounded(source.effect(coding.decoded)),
            )
        if max(coding.symbol_bits for coding in found) > MOST_BITS:
            return


def _rounded(value: float) -> float:
    """Four digits: more would only make the JSON longer."""
    return float(f"{value:.4g}")


def _savings(points: Sequence[Point]) -> Iterator[Saving]:
    for error in ERRORS:
        for rate in RATES:
            baseline = _curve(points, BASELINE, rate, error)
            for quantizer in QUANTIZERS:
                if quantizer != BASELINE:
                    curve = _curve(points, quantizer, rate, error)
                    fewer = {
                        f"{bits:g}": percent_fewer(curve, baseline, bits) for bits in UNIFORM_BITS
                    }
                    yield Saving(quantizer, rate, error, fewer)


def _curve(points: Sequence[Point], quantizer: str, rate: str, error: str) -> Curve:
    return frontier(
        (getattr(point, rate), getattr(point, error))
        for point in points
        if point.quantizer == quantizer and point.best_by in (rate, "both")
    )


def _summary(data_set: DataSet) -> str:
    """What variational Bayesian quantization saves, in one line."""
    (saving,) = (
        saving
        for saving in data_set.savings
        if (saving.quantizer, saving.rate, saving.error) == ("vbq", "bits", "distortion")
    )
    fewer = ", ".join(
        "-" if percent is None else f"{round(percent):+d} %"
        for percent in saving.percent_fewer.values()
    )
    return f"{data_set.name}: vbq saves {fewer} at {', '.join(saving.percent_fewer)} bits"


def _settings(data: MnistData, models: Sequence[str], seed: int) -> dict[str, str | int]:
    """How it was measured, for the JSON and the page."""
    threads = torch.get_num_threads()
    return {
        "command": (
            f"python -m experiments quantizers --models {','.join(models)} --seed {seed} "
            f"--threads {threads}"
        ),
        "data": data.notice,
        "seed": seed,
        "threads": threads,
    }
