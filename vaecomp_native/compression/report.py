"""What `compress` says of what it made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from vaecomp_native.archive import ArchiveInfo
from vaecomp_native.compression.choice import RunnerUp
from vaecomp_native.compression.options import Codec


@dataclass(frozen=True)
class CompressionReport:
    """What `compress` made.

    `codec` made the archive. `compared` lists the codecs that it was compared with, the smallest
    archive first. `info` describes the archive's contents and bytes. `history` is the training
    curve of a decoder. `kept_exact` names, by reason, the float tensors that a lossy codec kept bit
    for bit because of their values. `relative_error` is the squared error of the decoded float
    tensors over their own squares, 0 without loss. Tensors with NaN, infinities, outliers or values
    out of range do not count in it. `rate_weight` is the quantized codec's operating point.
    `score_original` is what `evaluate` gave before, and `score` what it gave for the decoded
    archive. `divergence` is how calibration compared outputs: "kl", "mse", or None if it did not.
    `seconds` is the time taken. `notes` say what reading the weights chose, changed or left out.
    """

    codec: Codec
    compared: Sequence[RunnerUp]
    info: ArchiveInfo
    history: Sequence[Mapping[str, float]]
    kept_exact: Mapping[str, Sequence[str]]
    relative_error: float
    rate_weight: float | None
    score_original: float | None
    score: float | None
    divergence: str | None
    seconds: float
    notes: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """The whole report as a dict that JSON can hold."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        del own["info"]
        own["compared"] = [asdict(one) for one in self.compared]
        return own | self.info.to_dict()
