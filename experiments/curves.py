"""Operating points of the package's codecs and of nncodec, to draw curves of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from experiments.baselines import nncodec
from vaecomp_native.compression import curve
from vaecomp_native.compression.curve import (
    RATE_WEIGHTS,
    Candidate,
    CurveCodec,
    Encoding,
    Setting,
    candidates,
)
from vaecomp_native.state_dict import read_state_dict

QPS: tuple[int, ...] = tuple(range(-38, -9))
"""Operating points of nncodec."""


def _write(module: nn.Module, setting: Setting, path: Path, encoding: Encoding) -> None:
    arrays = read_state_dict(module).arrays
    path.write_bytes(nncodec.encode(arrays, int(setting["qp"]), opt_qp=bool(setting["opt_qp"])))


def _read(path: Path) -> Mapping[str, Any]:
    return nncodec.decode(path.read_bytes())


NNCODEC = CurveCodec("nncodec", ".nnc", _write, _read)
CODECS: dict[str, CurveCodec] = {**curve.CODECS, NNCODEC.name: NNCODEC}

Family = Sequence[Candidate]
"""Operating points of one kind, from large files to small ones."""


def families(
    codec: str, rate_weights: Sequence[float] = RATE_WEIGHTS, qps: Sequence[int] = QPS
) -> list[Family]:
    """All operating points of a codec: those of nncodec once without and once with its ``opt_qp``."""
    if codec != NNCODEC.name:
        return [candidates(codec, rate_weights)]
    return [
        [Candidate(NNCODEC, {"qp": qp, "opt_qp": opt_qp}) for qp in qps] for opt_qp in (False, True)
    ]
