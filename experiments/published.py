"""What Cheng et al. 2024 (arXiv 2408.14513) report, for the columns marked as the paper's."""

from __future__ import annotations

from dataclasses import dataclass

CITATION = (
    "Cheng, Guan, Taherkordi, Liu, Lan: Variational Autoencoder-based Neural Network Model "
    "Compression, arXiv 2408.14513 (2024)"
)

RATIO = 32.0
"""The paper's compression ratio at latent 64: chunk length 2048 over 64 latents, in numbers."""


@dataclass(frozen=True)
class PublishedAccuracy:
    """Test accuracies in whole percent as printed: the original model and the decoded one."""

    original: int
    decoded: int


ACCURACY: dict[str, PublishedAccuracy] = {
    "fnn": PublishedAccuracy(98, 97),
    "cnn": PublishedAccuracy(98, 97),
    "rnn": PublishedAccuracy(90, 89),
    "lstm": PublishedAccuracy(98, 98),
}
