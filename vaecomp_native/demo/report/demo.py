"""The page of the demonstration."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vaecomp_native.demo import machine
from vaecomp_native.demo.measure import AMORTIZED_MODELS
from vaecomp_native.demo.report import figures
from vaecomp_native.demo.report.cards import cards, disagreements
from vaecomp_native.demo.report.page import render
from vaecomp_native.demo.result import Demonstration

SHOWN_LAYER = "fc2.weight"
SHOWN_DIGITS = 24
ABOUT: Mapping[str, str] = {
    "quantized": "each weight rounded as finely as the network's outputs need, found with sample digits",
    "vae-compact": "a variational autoencoder of the chunks, with a decoder as small as it gets",
    "vae-paper": "the same with the decoder of Cheng et al. 2024",
}
"""What the codecs are."""


def render_demo(shown: Demonstration) -> str:
    """The HTML page."""
    state = {name: value.numpy() for name, value in shown.trained.model.state_dict().items()}
    weights: dict[str, dict[str, np.ndarray]] = {m.codec: m.weights for m in shown.measurements}
    predictions = {"original": shown.original, **dict(zip(weights, shown.decoded, strict=True))}
    flat = np.concatenate([tensor.ravel() for tensor in state.values()])
    errors = {
        name: np.concatenate([(decoded[key] - state[key]).ravel() for key in state])
        for name, decoded in weights.items()
    }
    return render(
        "demo.html.j2",
        result=shown.result,
        measurements=shown.measurements,
        about=ABOUT,
        trained=shown.trained,
        settings=shown.settings,
        machine=machine.describe(),
        amortized_models=AMORTIZED_MODELS,
        layer=SHOWN_LAYER,
        bytes_figure=figures.bytes_by_part(
            shown.result.raw_bytes,
            {m.codec: m.info.bytes for m in shown.measurements},
        ),
        weights_figure=figures.weights_before_after(
            SHOWN_LAYER,
            state[SHOWN_LAYER],
            {name: decoded[SHOWN_LAYER] for name, decoded in weights.items()},
        ),
        errors_figure=figures.error_histogram(errors, float(flat.std())),
        classifier_figure=figures.classifier_curve(shown.trained.curve),
        vae_figure=figures.vae_curves(
            {m.codec: m.history for m in shown.measurements if m.history}
        ),
        digits=cards(shown.test, predictions, SHOWN_DIGITS),
        disagreements=disagreements(predictions),
        test_digits=len(shown.test),
    )
