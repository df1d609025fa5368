"""The page of the demonstration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vaecomp_native.experiments.measure import AMORTIZED_MODELS, Measurement
from vaecomp_native.experiments.report import figures, machine, render
from vaecomp_native.experiments.report.digits import cards, disagreements
from vaecomp_native.zoo.mnist import Digits
from vaecomp_native.zoo.training import TrainedClassifier

SHOWN_LAYER = "fc2.weight"
SHOWN_DIGITS = 24
ABOUT: Mapping[str, str] = {
    "quantized": "each weight rounded as finely as the network's outputs need, found with sample digits",
    "vae-compact": "a variational autoencoder of the chunks, with a decoder as small as it gets",
    "vae-paper": "the same with the decoder of Cheng et al. 2024",
}
"""What the codecs are."""


@dataclass(frozen=True)
class DemoReport:
    """All that the page shows; predictions are int64 [N] over the test digits."""

    result: Mapping[str, Any]
    trained: TrainedClassifier
    measurements: Sequence[Measurement]
    test: Digits
    original: torch.Tensor
    decoded: Sequence[torch.Tensor]
    settings: Mapping[str, int | str]


def render_demo(report: DemoReport) -> str:
    """The HTML page."""
    state = {name: value.numpy() for name, value in report.trained.model.state_dict().items()}
    weights: dict[str, dict[str, np.ndarray]] = {m.codec: m.weights for m in report.measurements}
    predictions = {"original": report.original, **dict(zip(weights, report.decoded, strict=True))}
    flat = np.concatenate([tensor.ravel() for tensor in state.values()])
    errors = {
        name: np.concatenate([(decoded[key] - state[key]).ravel() for key in state])
        for name, decoded in weights.items()
    }
    return render(
        "demo.html.j2",
        result=report.result,
        measurements=report.measurements,
        about=ABOUT,
        trained=report.trained,
        settings=report.settings,
        machine=machine.describe(),
        amortized_models=AMORTIZED_MODELS,
        layer=SHOWN_LAYER,
        bytes_figure=figures.bytes_by_part(
            report.result["raw_bytes"],
            {m.codec: m.info.bytes for m in report.measurements},
        ),
        weights_figure=figures.weights_before_after(
            SHOWN_LAYER,
            state[SHOWN_LAYER],
            {name: decoded[SHOWN_LAYER] for name, decoded in weights.items()},
        ),
        errors_figure=figures.error_histogram(errors, float(flat.std())),
        classifier_figure=figures.classifier_curve(report.trained.curve),
        vae_figure=figures.vae_curves(
            {m.codec: m.history for m in report.measurements if m.history}
        ),
        digits=cards(report.test, predictions, SHOWN_DIGITS),
        disagreements=disagreements(predictions),
        test_digits=len(report.test),
    )
