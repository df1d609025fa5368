"""Weights into an archive."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vaecomp_native.archive import Archive, ArchiveInfo
from vaecomp_native.codecs.assembly import Finished
from vaecomp_native.compression.choice import RunnerUp, encode_best
from vaecomp_native.compression.groups import (
    SECTION_BYTES,
    OperatingPoint,
    encode_in_groups,
    groups_of,
    takes_groups,
)
from vaecomp_native.compression.losses import Losses
from vaecomp_native.compression.operating import OperatingPoints
from vaecomp_native.compression.options import EXACT, Codec, Options, with_option_names
from vaecomp_native.compression.report import CompressionReport
from vaecomp_native.compression.request import Request, make_request
from vaecomp_native.compression.shards import ShardWriter
from vaecomp_native.errors import ShardingError
from vaecomp_native.io import sinks
from vaecomp_native.io.shard_index import ARCHIVE_INDEX_SUFFIX, MAX_SHARD_BYTES
from vaecomp_native.progress import Progress, Steps, shown
from vaecomp_native.sharded import ShardedArchive, is_sharded
from vaecomp_native.state_dict import StateDict, find_state_dict, read_state_dict

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from vaecomp_native.state_dict import Weights


@with_option_names
def compress(
    weights: Weights,
    out: sinks.Sink,
    *,
    progress: Progress | bool = False,
    max_shard_bytes: int | None = None,
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
    that fails leaves no file, and the module as it was. Shards that are finished stay, and the same
    call goes on from there.

    Safetensors files larger than 256 MiB are read and encoded some tensors at a time, without
    calibration, so that neither they nor the archive need fit in memory.

    Args:
        weights: a mapping of names to NumPy arrays or torch tensors, a torch module, an open
            archive, or the path of a checkpoint: a safetensors file, an index of shards, a model
            repository's directory, a PyTorch checkpoint, an .npz, .gguf or .vaec file.
        out: where the archive goes: a path, a URL that fsspec knows, or a binary file object. It is
            none of the files that are read. A path that ends with ``.vaec.index.json`` makes an
            archive in shards beside it (``model-00001-of-00002.vaec``).
        max_shard_bytes: the bytes of weights in a shard, or one larger tensor; 5 GB by default.
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
        ShardingError: shards are asked for with what needs all weights at once, or at a URL.
        UnreachableError: the size or the score asked for cannot be reached; says what can.
        TrainingError: a decoder's training did not converge to finite values.
        TypeError, ValueError: an option that there is none of or that is out of range, naming it.
        ModuleNotFoundError: the latent codec is asked for and PyTorch is not installed.
        OSError: the archive cannot be written.
    """
    started = time.perf_counter()
    sinks.check_output(out)
    max_bytes = _check_sharding(out, max_shard_bytes, options)
    with shown(progress) as report:
        read = _read_or_find if takes_groups(options) else read_state_dict
        request = make_request(weights, options, report, read)
        sinks.check_output(out, request.state.files)
        if max_bytes is not None:
            made = _write_shards(request, out, options, max_bytes)
        else:
            large = takes_groups(options) and _bytes(request.state) > SECTION_BYTES
            made = _write_large(request, out) if large else _write(request, out)
    for warning in made.losses.warnings():
        warnings.warn(warning, stacklevel=2)
    return CompressionReport(
        codec=made.codec,
        compared=made.compared,
        info=made.info,
        history=made.history,
        kept_exact=made.losses.kept_exact,
        relative_error=made.losses.relative_error,
        rate_weight=made.rate_weight,
        score_original=made.score_original,
        score=made.score,
        divergence=None if request.model is None else request.model.divergence,
        seconds=time.perf_counter() - started,
        notes=request.state.notes,
    )


@dataclass(frozen=True)
class _Made:
    """What was written; fields are those of the report."""

    codec: Codec
    compared: Sequence[RunnerUp]
    info: ArchiveInfo
    losses: Losses
    rate_weight: float | None
    history: Sequence[Mapping[str, float]] = ()
    score_original: float | None = None
    score: float | None = None

    @classmethod
    def at(cls, point: OperatingPoint, info: ArchiveInfo, losses: Losses) -> _Made:
        """What was made of groups at an operating point."""
        return cls(point.codec, point.compared, info, losses, point.relative_rate_weight)


def _write(request: Request, out: sinks.Sink) -> _Made:
    """Write the archive of weights that fit in memory."""
    made, compared = encode_best(request)
    info = _put(made.archive, out, request.threads)
    lossy = {one.name for one in info.tensors if one.codec not in EXACT}
    losses = Losses.of(request, made.codec, lossy, made.decoded, made.kept_exact)
    return _Made(
        made.codec,
        compared,
        info,
        losses,
        made.rate_weight,
        made.history,
        made.score_original,
        made.score,
    )


def _write_large(request: Request, out: sinks.Sink) -> _Made:
    """Write an archive of groups of tensors, which are read and encoded one after another."""
    directory = sinks.directory_of(out)
    names = request.state.names
    points = OperatingPoints(request)
    point = points.first()
    while True:
        if directory is not None:
            sinks.check_room(directory, 2 * point.bytes)  # sections, and then the file
        step = Steps(request.progress, "compressing", len(groups_of(request, names)))
        archive, losses = encode_in_groups(request, names, point, directory, step)
        smaller = points.after(point, archive.size)
        if smaller is None:
            return _Made.at(point, _put(archive, out, request.threads), losses)
        point = smaller


def _write_shards(request: Request, out: sinks.Sink, options: Options, max_bytes: int) -> _Made:
    """Write an archive in shards, and their index."""
    assert is_sharded(out)
    point, losses = ShardWriter(request, out, options, max_bytes).write()
    with ShardedArchive(out, threads=request.threads) as archive:
        return _Made.at(point, archive.info, losses)


def _put(archive: Finished, out: sinks.Sink, threads: int) -> ArchiveInfo:
    """Write an archive to `out`, decoded and checked before it is there, and return its info."""
    with sinks.filling(out) as path:
        archive.write(path)
        with sinks.flushing(path), Archive(path, threads=threads) as written:
            written.verify()
            return written.info


def _read_or_find(weights: Weights, key: str | None) -> StateDict:
    """Read weights, or only find the tensors of large ones."""
    found = find_state_dict(weights, key)
    if found is None or _bytes(found) <= SECTION_BYTES:
        return read_state_dict(weights, key)
    return found


def _bytes(state: StateDict) -> int:
    return sum(form.nbytes for form in state.forms.values())


def _check_sharding(out: sinks.Sink, max_bytes: int | None, options: Options) -> int | None:
    """The bytes of weights of a shard; None if `out` is no index. Raises ShardingError."""
    if not is_sharded(out):
        if max_bytes is not None:
            raise ShardingError(
                f"max_shard_bytes needs an index as output; name it *{ARCHIVE_INDEX_SUFFIX}"
            )
        return None
    if not takes_groups(options):
        raise ShardingError(
            "shards hold what needs no calibration: codec 'quantized' with quantizer 'feedback', "
            "'lossless' or 'raw', without calibration and evaluate; write one file (.vaec)"
        )
    if max_bytes is None:
        return MAX_SHARD_BYTES
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 1:
        raise ShardingError(f"max_shard_bytes is {max_bytes!r}; give a whole number of at least 1")
    return max_bytes
