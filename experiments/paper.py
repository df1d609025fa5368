"""The paper's evaluation (Cheng et al. 2024) repeated, with every byte counted beside it.

Table 1 (the networks), the CNN at latent 128 and 64, Table 2 (accuracy after compression), Figure 2
(training curves), Figure 3 (size against training time), Figures 4 and 5 (predictions).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.networks.classifiers import PARAMETERS
from experiments.networks.training import train_network
from experiments.results.paper import EvaluatedNetwork, ModelResult, PaperResult
from vaecomp_native.demo.accuracy import predict
from vaecomp_native.demo.digits import MnistData
from vaecomp_native.demo.measure import LATENT, Decoder, Measurement, measure_vae
from vaecomp_native.progress import Progress, silent

SWEEP_MODEL, SWEEP_LATENT = "cnn", 128
"""The network that the paper compresses at a larger latent as well, and that latent."""

PAPER_EPOCHS = 500
"""Epochs of the VAE at most, as in the paper; training stops early."""


def run(
    data: MnistData,
    out: Path,
    *,
    models: Sequence[str] = tuple(PARAMETERS),
    classifier_epochs: int | None = None,
    epochs: int = PAPER_EPOCHS,
    seed: int = 0,
    progress: Progress = silent,
    notice: Callable[[str], None] = lambda line: None,
    publish: Callable[[PaperResult], None] = lambda result: None,
) -> PaperResult:
    """Run the experiment; write the archives to ``out``.

    ``publish`` gets the result after each network, so that an interruption loses
    none that is finished. ``classifier_epochs`` defaults to what suits the network and the data.
    """
    out.mkdir(parents=True, exist_ok=True)
    notice(f"data: {data.notice}")
    settings: dict[str, Any] = {
        "data": data.notice,
        "latent": LATENT,
        "VAE epochs, at most": epochs,
        "seed": seed,
    }
    result = PaperResult((), data.test, settings)
    for name in models:
        evaluated = _evaluate(
            name,
            data,
            out,
            classifier_epochs=classifier_epochs,
            epochs=epochs,
            seed=seed,
            progress=progress,
        )
        result = replace(result, networks=(*result.networks, evaluated))
        publish(result)
        notice(_summary(name, result.models[name]))
    return result


def _evaluate(
    name: str,
    data: MnistData,
    out: Path,
    *,
    classifier_epochs: int | None,
    epochs: int,
    seed: int,
    progress: Progress,
) -> EvaluatedNetwork:
    """Train one network, compress it in every way, and only then look at the test digits."""
    trained = train_network(name, data, epochs=classifier_epochs, seed=seed, progress=progress)

    def compress(decoder: Decoder, latent: int) -> Measurement:
        return measure_vae(
            trained.model,
            out / f"{name}-{decoder}-{latent}.vaec",
            decoder=decoder,
            latent=latent,
            epochs=epochs,
            seed=seed,
            progress=lambda stage, *rest: progress(f"{name}, {decoder} decoder: {stage}", *rest),
        )

    latents = (SWEEP_LATENT, LATENT) if name == SWEEP_MODEL else (LATENT,)
    sweep = {latent: compress("paper", latent) for latent in latents}
    compact = compress("compact", LATENT)
    images = data.test.images
    return EvaluatedNetwork(
        name=name,
        trained=trained,
        sweep=sweep,
        compact=compact,
        labels=data.test.labels,
        original=predict(trained.model, images),
        sweep_predictions={latent: predict(m.model, images) for latent, m in sweep.items()},
        compact_predictions=predict(compact.model, images),
    )


def _summary(name: str, result: ModelResult) -> str:
    compact, paper = result.compact, result.paper
    return (
        f"{name}: accuracy {result.accuracy_original:.2f} %; compact decoder "
        f"{compact.ratio_self_contained:.2f}x at {compact.accuracy_decoded:.2f} %, paper-size "
        f"decoder {paper.ratio_self_contained:.2f}x at {paper.accuracy_decoded:.2f} %"
    )
