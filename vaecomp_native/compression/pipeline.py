"""Weights into an archive."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.archive import Archive, ArchiveInfo
from vaecomp_native.compression.candidates import Candidate
from vaecomp_native.compression.choice import EXACT, RunnerUp, encode_best
from vaecomp_native.compression.options import Codec, Options, with_option_names
from vaecomp_native.compression.request import Request, make_request
from vaecomp_native.compression.suitability import (
    NOT_FINITE,
    OUT_OF_RANGE,
    OUTLIERS,
    SPECIAL_VALUES,
    delicacies,
    extents,
)
from vaecomp_native.io import sinks
from vaecomp_native.progress import Progress, shown
from vaecomp_native.quantization.batches import batches
from vaecomp_native.quantization.matrix import SLAB_ELEMENTS

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from vaecomp_native.state_dict import Weights

Array = npt.NDArray[Any]
TOO_FAR = "values too far apart for the target's steps"
WHY_EXACT = {
    NOT_FINITE: "it holds NaN or infinite values",
    OUTLIERS: "its values are too far apart for the steps of a lossy codec",
    OUT_OF_RANGE: "its values are too large or too small for the steps of a lossy codec",
    TOO_FAR: "its values are too far apart for the steps of a lossy codec at this target",
}
"""The text of a warning, by the reason for which a tensor is exact."""
MAX_WARNINGS = 10
"""The maximum number of warnings of one kind."""


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


@with_option_names
def compress(
    weights: Weights,
    out: sinks.Sink,
    *,
    progress: Progress | bool = False,
    **options: Unpack[Options],
) -> CompressionReport:
    """Compress weights into the archive `out`.

    The quantized codec rounds float tensors and entropy-codes the symbols. With `calibration` it
    measures what errors cost, and lets later weights make up for earlier ones' errors. Without,
    errors count relative to each tensor's size. One of `bits_per_weight`, `target_bytes`,
    `rate_weight` and `max_loss` sets how small the file gets.

    These come back bit for bit: integer, boolean, float8 and complex tensors; scalars; gains and
    variances of normalization layers; tensors that hold NaN, infinities or outliers. Tied weights
    are stored once. The file is decoded and checked before it takes its place, atomically. A run
    that fails leaves no file, and the module as it was.

    Args:
        weights: a mapping of names to NumPy arrays or torch tensors, a torch module, an open
            archive, or the path of a checkpoint: a safetensors file, an index of shards, a model
            repository's directory, a PyTorch checkpoint, an .npz, .gguf or .vaec file.
        out: where the archive goes: a path, a URL that fsspec knows, or a binary file object. It is
            none of the files that are read.
        key: of a checkpoint that wraps several state dicts, the one to take: "model", "ema", ...,
            with dots between levels.
        codec: "quantized"; "lossless"; "raw"; "vae", the latent codec; "vae+residual", a small
            decoder and what it leaves; or "auto", the smaller of the first two. "auto" makes the
            other one only where an estimate says that it may be smaller, or where the first does
            not keep what was asked for.
        quantizer: of the quantized codec: "feedback" (error feedback and rate-distortion decisions,
            the best), or one of the published ones that it is compared with: "uniform", "ecsq",
            "ecsq-lloyd", "kmeans", "vbq".
        bits_per_weight: size of the file in bits for each element of the weights. If none of the
            four is given, weights that are quantized get 5 bits each.
        target_bytes: maximum bytes of the file.
        rate_weight: what a bit must save in sensitivity-weighted squared error, relative to losing
            a weight. 0.005 makes about 4 bits a weight, 0.35 about 1.
        max_loss: what `evaluate` may fall by at most. The archive's decoded weights are scored.
            Needs `evaluate`.
        calibration: batches of the module's inputs, without labels; or a `Calibration`, which also
            says how to pick inputs from batches and what differences of the outputs mean. `weights`
            must be the module.
        evaluate: takes the module with decoded weights and returns a score, larger being better.
            `weights` must be the module.
        vae: options of the latent codec.
        threads: threads of the native kernels, 0 for all cores.
        progress: True draws a bar on a terminal's standard error; or a function that is called as
            the work proceeds, see `vaecomp_native.progress.Progress`.

    Warns:
        UserWarning: calibration never uses a tensor; or a lossy codec keeps a tensor exact because
            of special values; or there are more chunks than the latent codec's decoder has hidden
            units, so that much of the weights is lost.

    Returns:
        The archive's info with its bytes by part, what it was compared with, and the time taken.

    Raises:
        WeightsError: weights of an unsupported kind, naming the tensor.
        OverwriteError: `out` is one of the files that are read.
        CalibrationError: the module rejects a batch, a batch may hold labels, the divergence must
            be given, or `evaluate` raises or gives no finite number.
        UnreachableError: the size or the score asked for cannot be reached; says what can.
        TrainingError: a decoder's training did not converge to finite values.
        TypeError, ValueError: an option that there is none of or that is out of range, naming it.
        ModuleNotFoundError: the latent codec is asked for and PyTorch is not installed.
        OSError: the archive cannot be written.
    """
    started = time.perf_counter()
    sinks.check_output(out)
    with shown(progress) as report:
        request = make_request(weights, options, report)
        sinks.check_output(out, request.state.files)
        made, compared = encode_best(request)
    with Archive(made.data, threads=request.threads) as archive:
        info = archive.info
        kept_exact = _kept_exact(request, made, info)
        for warning in _warnings(kept_exact):
            warnings.warn(warning, stacklevel=2)
        sinks.write(out, made.data, check=archive.verify)
    return CompressionReport(
        codec=made.codec,
        compared=compared,
        info=info,
        history=made.history,
        kept_exact=kept_exact,
        relative_error=_relative_error(request, made),
        rate_weight=made.rate_weight,
        score_original=made.score_original,
        score=made.score,
        divergence=None if request.model is None else request.model.divergence,
        seconds=time.perf_counter() - started,
        notes=request.state.notes,
    )


def _kept_exact(request: Request, made: Candidate, info: ArchiveInfo) -> dict[str, list[str]]:
    """The float tensors that the archive holds bit for bit because of their values, by reason."""
    if made.codec in EXACT:
        return {}
    exact = {one.name for one in info.tensors if one.codec in EXACT}
    reasons = (
        delicacies(request.floats)
        | {name: why for name, why in request.unsuitable.items() if why in SPECIAL_VALUES}
        | dict.fromkeys(made.kept_exact, TOO_FAR)
    )
    found: dict[str, list[str]] = {}
    for name in request.state.names:
        if name in exact and name in reasons:
            found.setdefault(reasons[name], []).append(name)
    return found


def _warnings(kept_exact: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield a line for each tensor that its owner may not expect to be exact."""
    for reason, why in WHY_EXACT.items():
        names = kept_exact.get(reason, ())
        for name in names[:MAX_WARNINGS]:
            yield f"tensor '{name}' is stored without loss: {why}"
        if len(names) > MAX_WARNINGS:
            more = len(names) - MAX_WARNINGS
            yield (
                f"{more:,} more tensors are stored without loss: {why}; kept_exact of the report "
                "names them"
            )


def _relative_error(request: Request, made: Candidate) -> float:
    """The squared error of all decoded float tensors over their squares."""
    if made.codec in EXACT:
        return 0.0
    originals, decoded = request.floats, made.decoded
    largest = max((one.largest for one in extents(originals).values()), default=0.0) or 1.0
    energy = error = 0.0
    for names in batches({name: array.size for name, array in originals.items()}):
        before = [originals[name].ravel() for name in names]
        after = [decoded[name].ravel() for name in names]
        for first, second in _slabs(before, after):
            # Squares of the largest numbers would overflow.
            original = first / largest
            change = second / largest - original
            energy += float(np.square(original).sum())
            error += float(np.square(change).sum())
    return error / energy if energy else 0.0


def _slabs(*tensors: Sequence[Array]) -> Iterator[tuple[Array, ...]]:
    """Yield flat tensors one behind another, or parts of a large one, as float64."""
    for start in range(0, max(one.size for one in tensors[0]), SLAB_ELEMENTS):
        yield tuple(
            np.concatenate([one[start : start + SLAB_ELEMENTS] for one in group], dtype=np.float64)
            for group in tensors
        )
