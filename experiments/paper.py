"""The paper's evaluation (Cheng et al. 2024) repeated, with every byte counted beside it.

Table 1 (the networks), the CNN at latent 128 and 64, Table 2 (accuracy after compression), Figure 2
(training curves), Figure 3 (size against training time), Figures 4 and 5 (predictions).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from vaecomp_native.evaluation.accuracy import percent_correct, predict
from vaecomp_native.experiments.files import write_json, write_text
from vaecomp_native.experiments.measure import LATENT, Decoder, Measurement, measure_vae
from vaecomp_native.experiments.report.paper import ModelReport, PaperReport, render_paper
from vaecomp_native.progress import Progress, silent
from vaecomp_native.zoo.mnist import MnistData
from vaecomp_native.zoo.networks import PARAMETERS
from vaecomp_native.zoo.training import default_epochs, train_classifier

SWEEP_MODEL, SWEEP_LATENT = "cnn", 128
"""The network that the paper compresses at a larger latent as well, and that latent."""

PAPER_EPOCHS = 500
"""Epochs of the VAE at most, as in the paper; training stops early."""


@dataclass(frozen=True)
class ArchiveResult:
    """An archive of one network: bytes by part, ratio, accuracy in percent, times in seconds.

    ``break_even_models`` is None where no number of models pays for the decoder.
    """

    bytes: dict[str, int]
    ratio_self_contained: float
    accuracy_decoded: float
    break_even_models: int | None
    bit_exact: bool
    compress_seconds: float
    decode_seconds: float
    reference_decode_seconds: float


@dataclass(frozen=True)
class ModelResult:
    """One network. ``accuracy_decoded`` is that of the archive with the paper-size decoder.

    ``train_seconds`` and ``curve`` are those of its VAE; ``latent_sweep`` holds the archives with
    the paper-size decoder by latent, where more than one latent was tried.
    """

    parameters: int
    accuracy_original: float
    accuracy_decoded: float
    ratio_latents_only: float | None
    paper: ArchiveResult
    compact: ArchiveResult
    train_seconds: float
    curve: list[dict[str, float]]
    latent_sweep: dict[int, ArchiveResult]

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-able objects; ``latent_sweep`` is left out where it is empty."""
        result = asdict(self)
        sweep = {str(latent): archive for latent, archive in result.pop("latent_sweep").items()}
        return {**result, "latent_sweep": sweep} if sweep else result


@dataclass(frozen=True)
class PaperResult:
    """The networks that are finished, by name."""

    models: Mapping[str, ModelResult]

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-able objects."""
        return {"models": {name: model.to_dict() for name, model in self.models.items()}}


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
) -> PaperResult:
    """Run the experiment; write archives, ``paper.json`` and ``report.html`` to ``out``.

    The JSON and the page are written again after each network, so that an interruption loses
    none that is finished. ``classifier_epochs`` defaults to what suits the network and the data.
    """
    out.mkdir(parents=True, exist_ok=True)
    notice(f"data: {data.notice}")
    reports: list[ModelReport] = []
    results: dict[str, ModelResult] = {}
    settings = {"data": data.notice, "latent": LATENT, "VAE epochs, at most": epochs, "seed": seed}
    for name in models:
        report = _evaluate(
            name,
            data,
            out,
            classifier_epochs=classifier_epochs or default_epochs(name, data),
            epochs=epochs,
            seed=seed,
            progress=progress,
        )
        results[name] = _result(report)
        reports.append(report)
        write_text(out / "report.html", render_paper(PaperReport(reports, data.test, settings)))
        write_json(out / "paper.json", PaperResult(results).to_dict())
        notice(_summary(name, results[name]))
    return PaperResult(results)


def _evaluate(
    name: str,
    data: MnistData,
    out: Path,
    *,
    classifier_epochs: int,
    epochs: int,
    seed: int,
    progress: Progress,
) -> ModelReport:
    """Train one network, compress it in every way, and only then look at the test digits."""
    trained = train_classifier(name, data, epochs=classifier_epochs, seed=seed, progress=progress)

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
    return ModelReport(
        name=name,
        trained=trained,
        sweep=sweep,
        paper=sweep[LATENT],
        compact=compact,
        labels=data.test.labels,
        original=predict(trained.model, images),
        sweep_predictions={latent: predict(m.model, images) for latent, m in sweep.items()},
        compact_predictions=predict(compact.model, images),
    )


def _result(report: ModelReport) -> ModelResult:
    labels = report.labels
    sweep = {
        latent: _archive(measurement, report.sweep_predictions[latent], labels)
        for latent, measurement in report.sweep.items()
    }
    history = report.paper.history
    return ModelResult(
        parameters=report.paper.info.parameters,
        accuracy_original=percent_correct(report.original, labels),
        accuracy_decoded=sweep[LATENT].accuracy_decoded,
        ratio_latents_only=report.paper.info.ratio_latents_only,
        paper=sweep[LATENT],
        compact=_archive(report.compact, report.compact_predictions, labels),
        train_seconds=history[-1]["seconds"],
        curve=history,
        latent_sweep=sweep if len(sweep) > 1 else {},
    )


def _archive(
    measurement: Measurement, predictions: torch.Tensor, labels: torch.Tensor
) -> ArchiveResult:
    return ArchiveResult(
        bytes=dict(measurement.info.bytes),
        ratio_self_contained=measurement.info.ratio_self_contained,
        accuracy_decoded=percent_correct(predictions, labels),
        break_even_models=measurement.break_even,
        bit_exact=measurement.bit_exact,
        compress_seconds=measurement.compress_seconds,
        decode_seconds=measurement.decode_seconds,
        reference_decode_seconds=measurement.reference_decode_seconds,
    )


def _summary(name: str, result: ModelResult) -> str:
    compact, paper = result.compact, result.paper
    return (
        f"{name}: accuracy {result.accuracy_original:.2f} %; compact decoder "
        f"{compact.ratio_self_contained:.2f}x at {compact.accuracy_decoded:.2f} %, paper-size "
        f"decoder {paper.ratio_self_contained:.2f}x at {paper.accuracy_decoded:.2f} %"
    )
