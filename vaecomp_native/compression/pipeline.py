"""Weights into an archive."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from vaecomp_native.archive import Archive, ArchiveInfo
from vaecomp_native.codecs.vae.codec import DecoderKind
from vaecomp_native.compression.candidates import Candidate
from vaecomp_native.compression.choice import EXACT, RunnerUp, encode_best
from vaecomp_native.compression.request import Codec, Divergence, Job, Quantizer, make_job
from vaecomp_native.compression.suitability import (
    NOT_FINITE,
    OUT_OF_RANGE,
    OUTLIERS,
    SPECIAL_VALUES,
    delicacies,
    extents,
)
from vaecomp_native.io import sinks
from vaecomp_native.progress import Progress, console
from vaecomp_native.quantization.batches import batches
from vaecomp_native.quantization.matrix import SLAB_ELEMENTS

if TYPE_CHECKING:
    import torch

    from vaecomp_native.state_dict import Weights

Array = npt.NDArray[Any]
TOO_FAR = "values too far apart for the target's steps"
WHY_EXACT = {
    NOT_FINITE: "it holds NaN or infinite values",
    OUTLIERS: "its values are too far apart for the steps of a lossy codec",
    OUT_OF_RANGE: "its values are too large or too small for the steps of a lossy codec",
    TOO_FAR: "its values are too far apart for the steps of a lossy codec at this target",
}
"""What a tensor's owner is told."""
MOST_WARNINGS = 10
"""Of one kind."""


@dataclass(frozen=True)
class CompressionReport:
    """What `compress` made.

    `codec` made the archive, and `compared` lists what it was compared with, smallest first. `info` tells contents and bytes of
    the archive, `history` the training curve of a decoder. `kept_exact` names, by reason, the float tensors that a lossy codec kept bit for bit
    because of their values. `relative_error` is the squared error of the decoded float tensors over their own squares (0 without loss), where
    tensors with NaN, infinities, outliers or values out of range do not count. `rate_weight` is the quantized codec's operating point,
    `score_original` and `score` what `evaluate` gave before and on the decoded archive, `divergence` how calibration compared outputs, "kl" or
    "mse" (None if it did not), `seconds` the time it took. `notes` say what reading the weights chose, changed or left out.
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
        """All of it, ready for JSON."""
        return asdict(self) | self.info.to_dict()


def compress(
    weights: Weights,
    out: sinks.Sink,
    *,
    key: str | None = None,
    codec: Codec | Literal["auto"] = "auto",
    quantizer: Quantizer = "feedback",
    bits_per_weight: float | None = None,
    target_bytes: int | None = None,
    rate_weight: float | None = None,
    max_loss: float | None = None,
    calibration: Iterable[Any] | None = None,
    evaluate: Callable[[torch.nn.Module], float] | None = None,
    divergence: Divergence = "auto",
    inputs: Callable[[Any], Any] | None = None,
    decoder: DecoderKind = "compact",
    latent: int = 64,
    chunk_length: int = 2048,
    distortion: float = 0.015,
    epochs: int = 500,
    seed: int = 0,
    device: str = "auto",
    threads: int = 0,
    progress: Progress | None = None,
) -> CompressionReport:
    """Compress weights into the archive `out`.

    the quantized codec quantizes float tensors and entropy-codes the symbols. With `calibration` it measures what errors cost
    and lets later weights make up for earlier ones' errors; without, errors count relative to each tensor's size. How small the
    file gets is set by one of `bits_per_weight`, `target_bytes`, `rate_weight` and `max_loss`. Integer, boolean, float8 and complex tensors,
    scalars, gains and variances of normalization layers, and tensors that hold NaN, infinities or outliers come back bit for bit; tied weights are stored once. The file is decoded and checked
    before it takes its place, atomically; a run that fails leaves no file, and the module as it was.

    Args:
        weights: a mapping of names to NumPy arrays or torch tensors, a torch module, an open archive, or the path of a
            checkpoint: a safetensors file, an index of shards, a model repository's directory, a PyTorch checkpoint, an .npz,
            .gguf or .vaec file.
        out: where the archive goes: a path, a URL that fsspec knows, or a binary file object. It is none of the files that are
            read.
        key: of a checkpoint that wraps several state dicts, the one to take: "model", "ema", ..., with dots between levels.
        codec: "quantized"; "lossless"; "raw"; "vae", the latent codec; "vae+residual", a small decoder and what it leaves; or "auto",
            the smaller of the first two. It makes the other one only where an estimate says that it may be smaller, or where the
            first does not keep what was asked for.
        quantizer: of the quantized codec: "feedback" (error feedback and rate-distortion decisions, the best), or one of the
            published ones that it is compared with: "uniform", "ecsq", "ecsq-lloyd", "kmeans", "vbq".
        bits_per_weight: size of the file in bits for each element of the weights. If none of the four is given, weights that are
            quantized get 5 bits each.
        target_bytes: most bytes of the file.
        rate_weight: what a bit must save in sensitivity-weighted squared error, relative to losing a weight; 0.005 makes
            about 4 bits a weight, 0.35 about 1.
        max_loss: most that `evaluate` may fall by; the archive's decoded weights are scored. Needs `evaluate`.
        calibration: batches of the module's inputs, without labels: each a tensor, a tuple or list of positional arguments or a dict of
            keyword arguments; or anything that `inputs` makes such a batch of. A few thousand samples do. `weights` must be the module.
        evaluate: takes the module with decoded weights and returns a score, larger being better. `weights` must be the module.
        divergence: what differences of the outputs mean: "kl" for logits, "mse" for other numbers, "auto" to find out from the first
            batch; where that is not clear a CalibrationError asks.
        inputs: picks the module's inputs from each batch, as `lambda batch: batch[0]` from samples with labels.
        decoder: of the latent codec: "compact" (small and entropy-coded, for archives that stand alone),
            "paper" (the size of Cheng et al. 2024, in integers) or "float32" (their set-up, in floats).
        latent: numbers in a chunk's latent.
        chunk_length: weights in a chunk.
        distortion: what the coarse weights of a "compact" decoder may add to the squared error, relative to that of zeros;
            each tensor's errors count in proportion to its spread. Larger is smaller and less accurate.
        epochs: most epochs of a decoder's training; it stops early when the validation loss stops falling.
        seed: of everything random; equal seeds give equal files on the same machine's CPU.
        device: torch device for a decoder's training, or "auto": CUDA, else MPS, else CPU.
        threads: threads of the native kernels, 0 for all cores.
        progress: called as the work proceeds; by default a bar is drawn on a terminal's standard error.

    Warns:
        UserWarning: a tensor that calibration never uses, or that a lossy codec keeps exact because of special values; or weights of
            more chunks than the latent codec's decoder has hidden units, so that much of them is lost.

    Returns:
        The archive's info with its bytes by part, what it was compared with, and the time taken.

    Raises:
        WeightsError: weights of an unsupported kind, naming the tensor.
        OverwriteError: `out` is one of the files that are read.
        CalibrationError: the module rejects a batch, a batch may hold labels, `divergence` must be given, or `evaluate` raises or gives no finite number.
        UnreachableError: the size or the score asked for cannot be reached; says what can.
        TrainingError: a decoder's training did not converge to finite values.
        ValueError: an option out of range, naming it.
        ModuleNotFoundError: the latent codec is asked for and PyTorch is not installed.
        OSError: the archive cannot be written.
    """
    started = time.perf_counter()
    vae = {
        "decoder": decoder,
        "latent": latent,
        "distortion": distortion,
        "epochs": epochs,
        "seed": seed,
        "device": device,
    }
    with console() if progress is None else nullcontext(progress) as report:
        sinks.check_output(out)
        job = make_job(
            weights,
            key=key,
            codec=codec,
            quantizer=quantizer,
            bits_per_weight=bits_per_weight,
            target_bytes=target_bytes,
            rate_weight=rate_weight,
            max_loss=max_loss,
            calibration=calibration,
            evaluate=evaluate,
            divergence=divergence,
            inputs=inputs,
            chunk_length=chunk_length,
            vae=vae,
            threads=threads,
            progress=report,
        )
        sinks.check_output(out, job.state.files)
        made, compared = encode_best(job, codec)
    with Archive(made.data, threads=threads) as archive:
        archive.verify()
        info = archive.info
    kept_exact = _kept_exact(job, made, info)
    for warning in _warnings(kept_exact):
        warnings.warn(warning, stacklevel=2)
    sinks.write(out, made.data)
    return CompressionReport(
        made.codec,
        compared,
        info,
        made.history,
        kept_exact,
        0.0 if made.codec in EXACT else _relative_error(job.floats, made.decoded),
        made.rate_weight,
        made.score_original,
        made.score,
        None if job.calibration is None else job.calibration.kind,
        time.perf_counter() - started,
        job.state.notes,
    )


def _kept_exact(job: Job, made: Candidate, info: ArchiveInfo) -> dict[str, list[str]]:
    """Float tensors that the archive holds bit for bit because of their values, by reason."""
    if made.codec in EXACT:
        return {}
    exact = {one.name for one in info.tensors if one.codec in EXACT}
    reasons = (
        delicacies(job.floats)
        | {name: why for name, why in job.unsuitable.items() if why in SPECIAL_VALUES}
        | dict.fromkeys(made.kept_exact, TOO_FAR)
    )
    found: dict[str, list[str]] = {}
    for name in job.state.names:
        if name in exact and name in reasons:
            found.setdefault(reasons[name], []).append(name)
    return found


def _warnings(kept_exact: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A line for each tensor whose owner may not expect it to be exact, up to `MOST_WARNINGS`."""
    for reason, why in WHY_EXACT.items():
        names = kept_exact.get(reason, ())
        for name in names[:MOST_WARNINGS]:
            yield f"tensor '{name}' is stored without loss: {why}"
        if len(names) > MOST_WARNINGS:
            more = len(names) - MOST_WARNINGS
            yield f"{more:,} more tensors are stored without loss: {why}; kept_exact of the report names them"


def _relative_error(originals: Mapping[str, Array], decoded: Mapping[str, Array]) -> float:
    """Squared error of decoded tensors over their squares."""
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
    """Flat tensors one behind another, or parts of a large one, as float64."""
    for start in range(0, max(one.size for one in tensors[0]), SLAB_ELEMENTS):
        yield tuple(
            np.concatenate([one[start : start + SLAB_ELEMENTS] for one in group], dtype=np.float64)
            for group in tensors
        )
