"""Weights into an archive."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from vaecomp_native.allocation.fit import call_evaluate
from vaecomp_native.allocation.operators import by_themselves
from vaecomp_native.archive import Archive, ArchiveInfo
from vaecomp_native.candidates import (
    Candidate,
    encode_lossless_archive,
    encode_raw_archive,
    encode_residual_archives,
    encode_vae_archive,
    scored,
    told_exact,
)
from vaecomp_native.codecs.vae import HIDDEN, DecoderKind
from vaecomp_native.errors import UnreachableError, WeightsError
from vaecomp_native.files import write_atomically
from vaecomp_native.jobs import Codec, Divergence, Job, Quantiser, Target, make_job
from vaecomp_native.progress import Progress, console
from vaecomp_native.quantisation.matrix import SLAB_ELEMENTS
from vaecomp_native.state_dict import LATENT_DTYPES

if TYPE_CHECKING:
    import torch

    from vaecomp_native.state_dict import Weights

Array = npt.NDArray[Any]
EXACT: tuple[Codec, ...] = ("lossless", "raw")
AUTO: tuple[Codec, ...] = ("lossless", "residual", "vae+residual")
"""What `codec="auto"` chooses from."""


@dataclass(frozen=True)
class RunnerUp:
    """A codec that `codec="auto"` looked at: the bytes of its archive, or why it made none."""

    codec: str
    bytes: int | None
    score: float | None
    note: str


@dataclass(frozen=True)
class CompressionReport:
    """What `compress` made.

    `codec` made the archive, and `compared` lists what it was compared with, smallest first. `info` tells contents and bytes of
    the archive, `history` the training curve of a decoder, `relative_error` the squared error of the decoded float tensors over their
    own squares (0 without loss), `rate_weight` the residual codec's operating point, `score_original` and `score` what `evaluate` gave before
    and on the decoded archive, `divergence` how calibration compared outputs, "kl" or "mse" (None if it did not), `seconds` the time it took.
    """

    codec: Codec
    compared: Sequence[RunnerUp]
    info: ArchiveInfo
    history: Sequence[Mapping[str, float]]
    relative_error: float
    rate_weight: float | None
    score_original: float | None
    score: float | None
    divergence: str | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return asdict(self) | self.info.to_dict()


def compress(
    weights: Weights,
    path: str | os.PathLike[str],
    *,
    codec: Codec | Literal["auto"] = "auto",
    quantiser: Quantiser = "feedback",
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
    """Compress weights into the archive `path`.

    The residual codec quantises float tensors and entropy-codes the symbols. With `calibration` it measures what errors cost
    and lets later weights make up for earlier ones' errors; without, errors count relative to each tensor's size. How small the
    file gets is set by one of `bits_per_weight`, `target_bytes`, `rate_weight` and `max_loss`. Integer, boolean, float8 and complex tensors,
    scalars, and gains and variances of normalisation layers come back bit for bit; tied weights are stored once. The file is decoded and checked
    before it takes its place, atomically; a run that fails leaves no file, and the module as it was.

    Args:
        weights: a mapping of names to NumPy arrays or torch tensors, a torch module, or the path of a safetensors
            file, a sharded safetensors index, or a directory that holds one.
        path: the archive to write.
        codec: "residual"; "vae+residual", a small decoder and what it leaves; "lossless"; "vae", the latent codec; "raw"; or "auto",
            the smallest of the first three.
        quantiser: of the residual codec: "feedback" (error feedback and rate-distortion decisions, the best), or one of the
            published ones that it is compared with: "uniform", "ecsq", "ecsq-lloyd", "kmeans", "vbq".
        bits_per_weight: size of the file in bits for each element of the weights. If none of the four is given, weights that are
            quantised get 5 bits each.
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
        UserWarning: a tensor that calibration never uses, or that cannot be quantised; or weights of more chunks than the
            latent codec's decoder has hidden units, so that much of them is lost.

    Returns:
        The archive's info with its bytes by part, what it was compared with, and the time taken.

    Raises:
        WeightsError: weights of an unsupported kind, or NaN or infinite values, naming the tensor.
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
        job = make_job(
            weights,
            codec=codec,
            quantiser=quantiser,
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
        made, compared = encode_best(job, codec)
    with Archive(made.data, threads=threads) as archive:
        archive.verify()
        info = archive.info
    if made.codec not in EXACT:
        for name in sorted(job.outliers | made.kept_exact):
            warnings.warn(
                f"tensor '{name}' is stored without loss: its values are too far apart for the "
                "steps of a lossy codec",
                stacklevel=2,
            )
    write_atomically(path, made.data)
    return CompressionReport(
        made.codec,
        compared,
        info,
        made.history,
        _relative_error(job.state.arrays, made.decoded),
        made.rate_weight,
        made.score_original,
        made.score,
        None if job.calibration is None else job.calibration.kind,
        time.perf_counter() - started,
    )


def encode_best(job: Job, codec: Codec | Literal["auto"]) -> tuple[Candidate, list[RunnerUp]]:
    """The archive of the codec asked for, or the smallest of `AUTO`, and what else was tried.

    Raises UnreachableError if none keeps what the target promises.
    """
    obstacles = obstacles_to(job, codec)
    original = None
    if job.calibration is not None and job.calibration.evaluate is not None:
        original = call_evaluate(job.calibration)
    if codec == "auto":
        made, skipped = _encode_all(job, original, obstacles)
    else:
        if codec in obstacles:
            raise WeightsError(f"codec {codec!r} {obstacles[codec]}; use codec='residual'")
        made, skipped = [_encode_with(job, codec, original)], {}
    made = scored(job, made, original)
    broken = {one.codec: _broken_promise(one, job.target) for one in made}
    kept = [one for one in made if not broken[one.codec]]
    if not kept:
        raise UnreachableError(skipped.get("residual") or "; ".join(filter(None, broken.values())))
    best = min(kept, key=lambda one: len(one.data))
    others = sorted((one for one in made if one is not best), key=lambda one: len(one.data))
    return best, [
        *(
            RunnerUp(one.codec, len(one.data), one.score, broken[one.codec] or "larger")
            for one in others
        ),
        *(RunnerUp(codec, None, None, why) for codec, why in skipped.items()),
    ]


def _encode_all(
    job: Job, original: float | None, obstacles: Mapping[str, str]
) -> tuple[list[Candidate], dict[str, str]]:
    """What the codecs of `AUTO` make, and why some make nothing."""
    made = [encode_lossless_archive(job)]
    skipped = dict(obstacles)
    lossy: list[Codec] = [one for one in AUTO[1:] if one not in obstacles]
    try:
        archives, failed = encode_residual_archives(job, lossy, original)
    except UnreachableError as error:
        return made, {"residual": str(error)} | skipped
    return made + archives, skipped | {str(name): why for name, why in failed.items()}


def _encode_with(job: Job, codec: Codec, original: float | None) -> Candidate:
    if codec in AUTO[1:]:
        (made,), _ = encode_residual_archives(job, [codec], original)
        return made
    encoders = {
        "lossless": encode_lossless_archive,
        "vae": encode_vae_archive,
        "raw": encode_raw_archive,
    }
    return encoders[codec](job)


def obstacles_to(job: Job, codec: str) -> dict[str, str]:
    """Codecs of `AUTO`, or the one asked for, that are of no use here, and why."""
    if codec not in ("auto", "vae+residual"):
        return {}
    why = None
    if any(job.floats[name].dtype != np.float32 for name in by_themselves(job.floats)):
        why = "takes float32 weights only"
    elif codec == "auto":
        why = _obstacle_to_decoder(job)
    return {"vae+residual": why} if why else {}


def _obstacle_to_decoder(job: Job) -> str | None:
    """Why a decoder with a residual is not worth trying, if it is not."""
    if sys.modules.get("torch", ...) is None or importlib.util.find_spec("torch") is None:
        return "needs PyTorch"
    chunks = sum(array.size for array in job.floats.values()) / job.chunk_length
    if chunks < 1:
        return f"has fewer than {job.chunk_length:,} weights to learn from"
    if chunks > HIDDEN:
        return (
            f"a decoder of this model's own pays for {HIDDEN} chunks at most; it has {chunks:,.0f}"
        )
    return None


def _broken_promise(candidate: Candidate, target: Target) -> str | None:
    """What a candidate falls short of, if it does."""
    size = len(candidate.data)
    if target.file_bytes is not None and size > target.file_bytes:
        exact = "" if candidate.codec in EXACT else told_exact(candidate)
        return f"codec '{candidate.codec}' takes {size:,} bytes{exact}; more than {target.file_bytes:,}"
    if target.max_loss is None or candidate.score is None or candidate.score_original is None:
        return None
    if candidate.score >= candidate.score_original - target.max_loss:
        return None
    return (
        f"codec '{candidate.codec}' scores {candidate.score:.6g}, less than "
        f"{candidate.score_original:.6g} - {target.max_loss:g}"
    )


def _relative_error(originals: Mapping[str, Array], decoded: Mapping[str, Array]) -> float:
    """Squared error of decoded float tensors over their squares; 0 if a codec changed nothing."""
    floats = {name: one for name, one in originals.items() if one.dtype.name in LATENT_DTYPES}
    largest = max(
        (float(max(one.max(), -one.min())) for one in floats.values() if one.size), default=0.0
    )
    energy = error = 0.0
    for name, array in floats.items():
        before, after = array.ravel(), decoded[name].ravel()
        for start in range(0, before.size, SLAB_ELEMENTS):
            part = slice(start, start + SLAB_ELEMENTS)
            # Squares of the largest numbers would overflow.
            original = before[part].astype(np.float64) / (largest or 1.0)
            change = after[part].astype(np.float64) / (largest or 1.0) - original
            energy += float(np.square(original).sum())
            error += float(np.square(change).sum())
    return error / energy if energy else 0.0
