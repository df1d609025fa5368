"""Size against quality: one model in files of many sizes, each read back and measured.

Every point is a real file: written, timed, decoded natively, loaded into a copy of the module and
handed to the caller's measure. Nothing is estimated.
"""

from __future__ import annotations

import copy
import itertools
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaecomp_native.accounting import self_contained_ratio
from vaecomp_native.archive import decode
from vaecomp_native.compression.pipeline import compress
from vaecomp_native.compression.request import Divergence, Quantizer
from vaecomp_native.evaluation import nncodec
from vaecomp_native.evaluation.timing import fastest
from vaecomp_native.progress import Progress, silent
from vaecomp_native.state_dict import read_state_dict
from vaecomp_native.tensors import array_to_tensor

if TYPE_CHECKING:
    import torch

QUANTIZERS: dict[str, Quantizer] = {
    "quantized": "feedback",
    "quantized-uniform": "uniform",
    "quantized-ecsq": "ecsq",
    "quantized-ecsq-lloyd": "ecsq-lloyd",
    "quantized-kmeans": "kmeans",
    "quantized-vbq": "vbq",
}
"""Names here of the quantized codec with each quantizer of `vaecomp_native.compress`."""

CODECS: tuple[str, ...] = (*QUANTIZERS, "lossless", "nncodec")

RATE_WEIGHTS: tuple[float, ...] = tuple(2.0**k for k in range(-8, 4))
"""Operating points of the quantized codec; four times the weight is about one bit a weight less."""

QPS: tuple[int, ...] = tuple(range(-38, -9))
"""Operating points of nncodec."""

STRENGTHS = ("rate_weight", "qp")
"""Settings that make a file smaller as they grow."""

DECODE_REPEATS = 3
"""Decodes that are timed, on one thread; the fastest counts."""


@dataclass(frozen=True)
class RatePoint:
    """One file and what came of it; ``score`` is the caller's measure of the decoded module.

    ``setting`` is the operating point in the codec's own terms: ``rate_weight``, or ``qp`` and
    ``opt_qp``. ``bytes`` is the whole file's size and ``ratio_self_contained`` the bytes of the
    weights over it. ``encode_seconds`` includes calibration; decoding is on one thread.
    """

    codec: str
    setting: Mapping[str, float]
    bytes: int
    ratio_self_contained: float
    score: float
    encode_seconds: float
    decode_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The point as JSON-able objects."""
        return asdict(self)


@dataclass(frozen=True)
class Candidate:
    """A codec at an operating point."""

    codec: str
    setting: Mapping[str, float]

    @property
    def family(self) -> str:
        """What it has in common with candidates that differ in their rate weight or qp alone."""
        others = {key: value for key, value in self.setting.items() if key not in STRENGTHS}
        return f"{self.codec} {others}"

    @property
    def file_name(self) -> str:
        """A name that no other candidate has, such as ``quantized-1.5e-05.vaec``."""
        parts = [f"{key.replace('_', '-')}{value:.4g}" for key, value in self.setting.items()]
        return "-".join([self.codec, *parts]) + (".nnc" if self.codec == "nncodec" else ".vaec")


@dataclass(frozen=True)
class CodedFile:
    """A candidate's file, its size and the seconds that it took."""

    candidate: Candidate
    path: Path
    bytes: int
    ratio_self_contained: float
    encode_seconds: float
    decode_seconds: float


def rate_distortion(
    module: torch.nn.Module,
    *,
    calibration: Sequence[Any] | None = None,
    divergence: Divergence = "auto",
    inputs: Callable[[Any], Any] | None = None,
    evaluate: Callable[[torch.nn.Module], float],
    codecs: Sequence[str] = ("quantized",),
    rate_weights: Sequence[float] = RATE_WEIGHTS,
    qps: Sequence[int] = QPS,
    directory: Path | None = None,
    threads: int = 0,
    progress: Progress = silent,
) -> list[RatePoint]:
    """Code a module with each codec at each operating point and evaluate what comes back.

    Args:
        module: the model; it is not changed.
        calibration: batches of inputs for the quantized codec, as for `vaecomp_native.compress`;
            None compresses without data.
        divergence: what differences of the outputs mean, as for `vaecomp_native.compress`.
        inputs: picks the module's inputs from each batch, as for `vaecomp_native.compress`.
        evaluate: gets a copy of the module with the decoded weights and gives its score.
        codecs: names from `CODECS`. "quantized" and its variants run over ``rate_weights``,
            "lossless" has one point, and "nncodec" runs over ``qps``, each with the package's
            ``opt_qp`` off and on.
        rate_weights: operating points of the quantized codec, larger is smaller.
        qps: operating points of nncodec, larger is smaller.
        directory: where the files stay, by default nowhere. It must exist.
        threads: of the quantized codec's encoder, 0 for all cores.
        progress: called after every point with its bytes and score.

    Returns:
        The points, codec by codec.

    Raises:
        ValueError: an unknown codec, naming it.
        ModuleNotFoundError: "nncodec" is asked for and not installed.
    """
    plan = candidates(codecs, rate_weights=rate_weights, qps=qps)
    points = []
    with tempfile.TemporaryDirectory() if directory is None else nullcontext(directory) as folder:
        for done, candidate in enumerate(plan, start=1):
            file = code(
                module,
                candidate,
                Path(folder),
                calibration=calibration,
                divergence=divergence,
                inputs=inputs,
                threads=threads,
            )
            point = _point(file, evaluate(load(module, candidate.codec, file.path)))
            points.append(point)
            progress("coding", done, len(plan), {"bytes": point.bytes, "score": point.score})
    return points


def candidates(
    codecs: Sequence[str],
    *,
    rate_weights: Sequence[float] = RATE_WEIGHTS,
    qps: Sequence[int] = QPS,
) -> list[Candidate]:
    """Every operating point of every codec, in each `Candidate.family` from large files to small ones.

    Errors as for `rate_distortion`.
    """
    unknown = [codec for codec in codecs if codec not in CODECS]
    if unknown:
        raise ValueError(f"unknown codec {unknown[0]!r}: choose from {', '.join(CODECS)}")
    if "nncodec" in codecs:
        nncodec.require()
    settings: dict[str, list[dict[str, float]]] = {
        **{codec: [{"rate_weight": w} for w in rate_weights] for codec in QUANTIZERS},
        "lossless": [{}],
        "nncodec": [{"qp": qp, "opt_qp": opt} for opt, qp in itertools.product((False, True), qps)],
    }
    return [Candidate(codec, setting) for codec in codecs for setting in settings[codec]]


def code(
    module: torch.nn.Module,
    candidate: Candidate,
    directory: Path,
    *,
    calibration: Sequence[Any] | None = None,
    divergence: Divergence = "auto",
    inputs: Callable[[Any], Any] | None = None,
    threads: int = 0,
) -> CodedFile:
    """Write the candidate's file for ``module`` into ``directory``, and time writing and decoding."""
    path = directory / candidate.file_name
    start = time.perf_counter()
    calibrated = {"calibration": calibration, "divergence": divergence, "inputs": inputs}
    _write(module, candidate, path, calibrated, threads)
    encode_seconds = time.perf_counter() - start
    _, decode_seconds = fastest(lambda: _read(candidate.codec, path), DECODE_REPEATS)
    size = path.stat().st_size
    raw = sum(array.nbytes for array in read_state_dict(module).arrays.values())
    return CodedFile(
        candidate, path, size, self_contained_ratio(raw, size), encode_seconds, decode_seconds
    )


def load(module: torch.nn.Module, codec: str, path: Path) -> torch.nn.Module:
    """A copy of ``module``, in evaluation mode, with the weights decoded from a codec's file."""
    decoded = copy.deepcopy(module).eval()
    arrays = _read(codec, path)
    # A stream of nncodec holds tied weights once, and scalars as vectors of one element.
    aliases = read_state_dict(module).aliases
    decoded.load_state_dict(
        {
            name: array_to_tensor(arrays[aliases.get(name, name)]).reshape(tensor.shape)
            for name, tensor in module.state_dict().items()
        }
    )
    return decoded


def _write(
    module: torch.nn.Module,
    candidate: Candidate,
    path: Path,
    calibrated: Mapping[str, Any],
    threads: int,
) -> None:
    setting = candidate.setting
    if candidate.codec == "nncodec":
        arrays = read_state_dict(module).arrays
        path.write_bytes(nncodec.encode(arrays, int(setting["qp"]), opt_qp=bool(setting["opt_qp"])))
    elif candidate.codec == "lossless":
        compress(module, path, codec="lossless", threads=threads, progress=silent)
    else:
        compress(
            module,
            path,
            codec="quantized",
            quantizer=QUANTIZERS[candidate.codec],
            **calibrated,
            rate_weight=setting["rate_weight"],
            threads=threads,
            progress=silent,
        )


def _read(codec: str, path: Path) -> Mapping[str, Any]:
    return nncodec.decode(path.read_bytes()) if codec == "nncodec" else decode(path, threads=1)


def _point(file: CodedFile, score: float) -> RatePoint:
    return RatePoint(
        codec=file.candidate.codec,
        setting=file.candidate.setting,
        bytes=file.bytes,
        ratio_self_contained=file.ratio_self_contained,
        score=score,
        encode_seconds=file.encode_seconds,
        decode_seconds=file.decode_seconds,
    )
