"""A series of checkpoints, stored with every codec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """A checkpoint stored with a codec.

    ``bytes`` are its own file's; seconds of decoding are those for this checkpoint alone, with all that it needs. ``rate_weight`` is the residual's, None without
    one. Accuracies in percent and losses in points, on test digits; ``agreement`` is how often in percent the decoded checkpoint says
    of test digits what the original says, ``validation_agreement`` that of validation digits.
    """

    codec: str
    checkpoint: int
    bytes: int
    rate_weight: float | None
    accuracy_own: float
    accuracy: float
    loss: float
    agreement: float
    validation_agreement: float
    encode_seconds: float
    decode_seconds: float


@dataclass(frozen=True)
class CodecResult:
    """The series stored with a codec.

    ``total_bytes`` are those of all files, ``shared_bytes`` among them those of what checkpoints share, ``bytes_per_checkpoint`` the mean of
    their own files; ``ratio`` is of raw bytes over total bytes. ``random_access``: a checkpoint needs no other one. Losses in points of accuracy on test digits, negative for gains; ``largest_change`` is of either; agreements as in `Row`; ``residuals`` is the number of checkpoints with a residual. Seconds are means of a checkpoint, and of what is shared together.
    """

    codec: str
    lossless: bool
    random_access: bool
    total_bytes: int
    shared_bytes: int
    bytes_per_checkpoint: float
    ratio: float
    largest_change: float
    mean_loss: float
    mean_agreement: float
    least_agreement: float
    least_validation_agreement: float
    residuals: int
    encode_seconds: float
    decode_seconds: float
    shared_seconds: float
    setting: Mapping[str, float | str]


@dataclass(frozen=True)
class Trial:
    """A codec's setting, tried on some checkpoints, and the bytes of the series that they promise."""

    codec: str
    setting: Mapping[str, float | str]
    promised_bytes: float


@dataclass(frozen=True)
class SeriesResult:
    """All codecs, what each checkpoint made of them in ``rows``, and what settings were chosen from.

    ``accuracies_own`` are those of the checkpoints on test digits.
    """

    checkpoints: int
    codecs: tuple[CodecResult, ...]
    rows: tuple[Row, ...]
    accuracies_own: tuple[float, ...]
    raw_bytes: int
    max_disagreement: float
    trials: tuple[Trial, ...]
    settings: Mapping[str, Any]
    machine: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-able objects."""
        return asdict(self)
