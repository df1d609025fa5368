"""Size against quality: one model in files of many sizes, each read back and measured.

Every point is a real file: written, timed, decoded natively, loaded into a copy of the module and
handed to the caller's measure. Nothing is estimated.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaecomp_native.accounting import self_contained_ratio
from vaecomp_native.calibration.config import Calibration
from vaecomp_native.compression.options import Quantizer
from vaecomp_native.compression.pipeline import compress
from vaecomp_native.opening import decode
from vaecomp_native.progress import Progress, silent
from vaecomp_native.state_dict import read_state_dict
from vaecomp_native.tensors import array_to_tensor
from vaecomp_native.timing import fastest

if TYPE_CHECKING:
    import torch

RATE_WEIGHTS: tuple[float, ...] = tuple(2.0**k for k in range(-8, 4))
"""Operating points of the quantized codec; four times the weight is about one bit a weight less."""

DECODE_REPEATS = 3
"""Decodes that are timed, on one thread; the fastest counts."""

Setting = Mapping[str, float]
"""An operating point in a codec's own terms."""


@dataclass(frozen=True)
class RatePoint:
    """One file and what came of it; ``score`` is the caller's measure of the decoded module.

    ``setting`` is the operating point in the codec's own terms: a ``rate_weight``, or nothing.
    ``bytes`` is the whole file's size and ``ratio_self_contained`` the bytes of the weights over
    it. ``encode_seconds`` includes calibration; decoding is on one thread.
    """

    codec: str
    setting: Setting
    bytes: int
    ratio_self_contained: float
    score: float
    encode_seconds: float
    decode_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The point as JSON-able objects."""
        return asdict(self)


@dataclass(frozen=True)
class Encoding:
    """What an encoder gets beside module and setting, as `vaecomp_native.compress` has it."""

    calibration: Calibration | Sequence[Any] | None = None
    threads: int = 0


@dataclass(frozen=True)
class CurveCodec:
    """A codec that curves are drawn of.

    ``write`` makes the file of a module at a setting, in the path that it is given, and ``read``
    gives the arrays of a file by name: tied weights once or several times, and a scalar as it is or
    as a vector of one element.
    """

    name: str
    suffix: str
    write: Callable[[torch.nn.Module, Setting, Path, Encoding], None]
    read: Callable[[Path], Mapping[str, Any]]


@dataclass(frozen=True)
class Candidate:
    """A codec at an operating point."""

    codec: CurveCodec
    setting: Setting

    @property
    def file_name(self) -> str:
        """A name that no other candidate has, such as ``quantized-rate-weight1.5e-05.vaec``."""
        parts = [f"{key.replace('_', '-')}{value:.4g}" for key, value in self.setting.items()]
        return "-".join([self.codec.name, *parts]) + self.codec.suffix


@dataclass(frozen=True)
class CodedFile:
    """A candidate's file, its size and the seconds that it took."""

    path: Path
    bytes: int
    ratio_self_contained: float
    encode_seconds: float
    decode_seconds: float


def rate_distortion(
    module: torch.nn.Module,
    *,
    calibration: Calibration | Sequence[Any] | None = None,
    evaluate: Callable[[torch.nn.Module], float],
    codecs: Sequence[str] = ("quantized",),
    rate_weights: Sequence[float] = RATE_WEIGHTS,
    directory: Path | None = None,
    threads: int = 0,
    progress: Progress = silent,
) -> list[RatePoint]:
    """Code a module with each codec at each operating point and evaluate what comes back.

    Args:
        module: the model; it is not changed.
        calibration: batches of inputs for the quantized codec, as for `vaecomp_native.compress`;
            None compresses without data.
        evaluate: gets a copy of the module with the decoded weights and gives its score.
        codecs: names from `CODECS`. "quantized" and its variants run over ``rate_weights``,
            "lossless" has one point.
        rate_weights: operating points of the quantized codec, larger is smaller.
        directory: where the files stay, by default nowhere. It must exist.
        threads: of the encoder, 0 for all cores.
        progress: called after every point with its bytes and score.

    Returns:
        The points, codec by codec.

    Raises:
        ValueError: an unknown codec, naming it.
    """
    plan = [one for codec in codecs for one in candidates(codec, rate_weights)]
    encoding = Encoding(calibration, threads)
    points = []
    with tempfile.TemporaryDirectory() if directory is None else nullcontext(directory) as folder:
        for done, candidate in enumerate(plan, start=1):
            file = code(module, candidate, Path(folder), encoding)
            point = _point(candidate, file, evaluate(load(module, candidate.codec, file.path)))
            points.append(point)
            progress("coding", done, len(plan), {"bytes": point.bytes, "score": point.score})
    return points


def candidates(codec: str, rate_weights: Sequence[float] = RATE_WEIGHTS) -> list[Candidate]:
    """Return every operating point of a codec in the order of ``rate_weights``.

    Errors are as for `rate_distortion`.
    """
    if codec not in CODECS:
        raise ValueError(f"unknown codec {codec!r}: choose from {', '.join(CODECS)}")
    settings: list[Setting] = [{"rate_weight": weight} for weight in rate_weights]
    if codec not in QUANTIZERS:
        settings = [{}]
    return [Candidate(CODECS[codec], setting) for setting in settings]


def code(
    module: torch.nn.Module, candidate: Candidate, directory: Path, encoding: Encoding
) -> CodedFile:
    """Write the candidate's file for ``module`` into ``directory``; time writing and decoding."""
    codec, path = candidate.codec, directory / candidate.file_name
    start = time.perf_counter()
    codec.write(module, candidate.setting, path, encoding)
    encode_seconds = time.perf_counter() - start
    _, decode_seconds = fastest(lambda: codec.read(path), DECODE_REPEATS)
    size = path.stat().st_size
    raw = sum(array.nbytes for array in read_state_dict(module).arrays.values())
    return CodedFile(path, size, self_contained_ratio(raw, size), encode_seconds, decode_seconds)


def load(module: torch.nn.Module, codec: CurveCodec, path: Path) -> torch.nn.Module:
    """A copy of ``module``, in evaluation mode, with the weights decoded from a codec's file."""
    decoded = copy.deepcopy(module).eval()
    arrays = codec.read(path)
    aliases = read_state_dict(module).aliases
    decoded.load_state_dict(
        {
            name: array_to_tensor(arrays[aliases.get(name, name)]).reshape(tensor.shape)
            for name, tensor in module.state_dict().items()
        }
    )
    return decoded


def _read(path: Path) -> Mapping[str, Any]:
    return decode(path, threads=1)


def _quantized(name: str, quantizer: Quantizer) -> CurveCodec:
    def write(module: torch.nn.Module, setting: Setting, path: Path, encoding: Encoding) -> None:
        compress(
            module,
            path,
            codec="quantized",
            quantizer=quantizer,
            calibration=encoding.calibration,
            rate_weight=setting["rate_weight"],
            threads=encoding.threads,
            progress=silent,
        )

    return CurveCodec(name, ".vaec", write, _read)


def _write_lossless(
    module: torch.nn.Module, setting: Setting, path: Path, encoding: Encoding
) -> None:
    compress(module, path, codec="lossless", threads=encoding.threads, progress=silent)


QUANTIZERS: dict[str, Quantizer] = {
    "quantized": "feedback",
    "quantized-uniform": "uniform",
    "quantized-ecsq": "ecsq",
    "quantized-ecsq-lloyd": "ecsq-lloyd",
    "quantized-kmeans": "kmeans",
    "quantized-vbq": "vbq",
}
"""Names here of the quantized codec with each quantizer of `vaecomp_native.compress`."""

CODECS: dict[str, CurveCodec] = {
    **{name: _quantized(name, quantizer) for name, quantizer in QUANTIZERS.items()},
    "lossless": CurveCodec("lossless", ".vaec", _write_lossless, _read),
}


def _point(candidate: Candidate, file: CodedFile, score: float) -> RatePoint:
    return RatePoint(
        codec=candidate.codec.name,
        setting=candidate.setting,
        bytes=file.bytes,
        ratio_self_contained=file.ratio_self_contained,
        score=score,
        encode_seconds=file.encode_seconds,
        decode_seconds=file.decode_seconds,
    )
