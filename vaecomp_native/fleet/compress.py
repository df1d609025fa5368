"""A model into a member of a fleet: latents, and if wanted a residual or all that is left."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from vaecomp_native.archive import Archive
from vaecomp_native.bits import identical
from vaecomp_native.calibration.config import Calibration
from vaecomp_native.compression.request import calibrated_model
from vaecomp_native.fleet.latents import find_latents
from vaecomp_native.fleet.member_encoder import MemberEncoder
from vaecomp_native.fleet.member_file import write_member
from vaecomp_native.fleet.pack import Pack
from vaecomp_native.io import sinks
from vaecomp_native.io.sources import Source
from vaecomp_native.progress import Progress, shown
from vaecomp_native.state_dict import read_state_dict

if TYPE_CHECKING:
    import torch

    from vaecomp_native.state_dict import Weights

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class MemberReport:
    """What `compress` made.

    `bytes` are the file's, of which `latent_bytes` are the latents' and `residual_bytes` those of
    residuals and tensors stored exactly. `relative_error` is the squared error of the float tensors
    over their squared distance from the base: 0 without loss, 1 if nothing but the base were kept.

    `kept_exact` names tensors that are stored without loss because no decoder could follow their
    values. `rate_weight` is the residual's, None without one. `score_original` and `score` are what
    `evaluate` gave for the model and for the file. `divergence` is how outputs were compared, "kl"
    or "mse", None without sample inputs.
    """

    bytes: int
    latent_bytes: int
    residual_bytes: int
    relative_error: float
    kept_exact: tuple[str, ...]
    rate_weight: float | None
    score_original: float | None
    score: float | None
    divergence: str | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return asdict(self)


def compress(
    member: Weights,
    out: sinks.Sink,
    *,
    pack: Pack | Archive | Source,
    calibration: Calibration | Iterable[Any] | None = None,
    evaluate: Callable[[torch.nn.Module], float] | None = None,
    max_loss: float | None = None,
    rate_weight: float | None = None,
    lossless: bool = False,
    metadata: Mapping[str, str] | None = None,
    seed: int = 0,
    threads: int = 0,
    progress: Progress | bool = False,
) -> MemberReport:
    """Compress a model into the file `out`, a member of a pack, which stays as it is.

    The model need not be one that the pack was trained on. Its latents are found through the pack's
    decoder: with `calibration` so that outputs are the model's, else so that weights are near. What
    the decoder cannot make is lost, unless a residual is asked for by one of `max_loss`,
    `rate_weight` and `lossless`.

    These come back bit for bit: integer tensors; norms' gains and the like; tensors with values
    that are not finite. The file is decoded and checked before it takes its place, atomically.

    Args:
        member: the model, as `vaecomp_native.compress` takes weights, with the pack's tensors.
        out: where the file goes, as for `vaecomp_native.compress`. It is none of the files read.
        pack: the pack; open it once as a `Pack` for many members.
        calibration: batches of the module's inputs, without labels, a few hundred samples, or a
            `Calibration` with them. `member` must be a torch module.
        evaluate: takes the module with decoded weights and returns a score, larger being better.
            `member` must be a torch module.
        max_loss: what `evaluate` may fall by at most. If it falls by more, the coarsest residual
            is added that keeps it. Needs `evaluate`.
        rate_weight: adds a residual: what a bit of it must save, in the unit of the `rate_weight`
            of `vaecomp_native.compress`.
        lossless: every tensor comes back bit for bit.
        metadata: text to store in the file.
        seed: of everything random; equal seeds give equal files on the same machine.
        threads: threads of the native kernels, 0 for all cores.
        progress: as for `vaecomp_native.compress`.

    Warns:
        UserWarning: a tensor is stored without loss because no decoder could follow its values; or
            tensors that the member ties come back as different ones, because the pack does not
            tie them.

    Raises:
        WeightsError: the model does not have the pack's tensors, naming the tensor.
        ArchiveError: the pack is none.
        CalibrationError: the module rejects a batch or gives no finite numbers for it, a batch may
            hold labels, the divergence must be given, or `evaluate` raises or gives no finite
            number.
        OverwriteError: `out` is the model's file or the pack.
        ValueError: options that exclude each other, or a module is needed.
        OSError: the file cannot be written.
    """
    _check_options(evaluate, max_loss, rate_weight, lossless)
    started = time.perf_counter()
    opened = pack if isinstance(pack, Pack) else Pack(pack, threads=threads)
    state = read_state_dict(member)
    pack_file = [pack] if isinstance(pack, (str, os.PathLike)) else []
    sinks.check_output(out, [*state.files, *pack_file])
    arrays = opened.arrays_of(state)
    with shown(progress) as report:
        model = calibrated_model(member, Calibration.of(calibration), evaluate)
        original = model.score() if model is not None and evaluate is not None else None
        encoder = MemberEncoder(opened, arrays, model, threads, report)
        if lossless:
            latents = None
            # What a module with NaNs gives tells nothing of its latents.
            seen = None if encoder.unfollowed or calibration is None else model
            if opened.latents and (seen is not None or opened.is_linear):
                latents = find_latents(opened, arrays, seen, seed, report)
            choice = encoder.lossless(latents)
        else:
            latents = find_latents(opened, arrays, model, seed, report)
            min_score = None if original is None or max_loss is None else original - max_loss
            choice = encoder.lossy(latents, rate_weight, min_score)
        score = None if original is None else encoder.score(choice.decoded)
    file = write_member(opened, choice.parts, choice.decoded, metadata or {}, threads)
    with Archive(file.data, pack=opened.archive, threads=threads) as archive:
        archive.verify()
    kept_exact = () if lossless else encoder.unfollowed
    _warn(kept_exact, state.aliases, choice.decoded)
    sinks.write(out, file.data)
    return MemberReport(
        bytes=len(file.data),
        latent_bytes=file.latent_bytes,
        residual_bytes=file.other_bytes,
        relative_error=opened.relative_error(arrays, choice.decoded),
        kept_exact=kept_exact,
        rate_weight=choice.rate_weight,
        score_original=original,
        score=score,
        divergence=None if model is None else model.divergence,
        seconds=time.perf_counter() - started,
    )


def _warn(kept_exact: Sequence[str], ties: Mapping[str, str], decoded: Mapping[str, Array]) -> None:
    """Say what a member does not come back as, or what it takes that it does."""
    for name in kept_exact:
        warnings.warn(
            f"tensor '{name}' is stored without loss: its values are not finite or too large for a "
            "decoder to follow",
            stacklevel=3,
        )
    for name, owner in ties.items():
        if not identical(decoded[name], decoded[owner]):
            warnings.warn(
                f"tensors '{name}' and '{owner}' are tied in the member and not in the pack, and "
                "come back as different ones: train a pack on a base in which they are tied",
                stacklevel=3,
            )


def _check_options(
    evaluate: Callable[[torch.nn.Module], float] | None,
    max_loss: float | None,
    rate_weight: float | None,
    lossless: bool,
) -> None:
    given = [
        name
        for name, there in (
            ("max_loss", max_loss is not None),
            ("rate_weight", rate_weight is not None),
            ("lossless", lossless),
        )
        if there
    ]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} are given; give one of them")
    if max_loss is not None and not (max_loss >= 0 and math.isfinite(max_loss)):
        raise ValueError(f"max_loss is {max_loss}; it must be a finite number at least 0")
    if rate_weight is not None and not (rate_weight > 0 and math.isfinite(rate_weight)):
        raise ValueError(f"rate_weight is {rate_weight}; it must be a finite number above 0")
    if max_loss is not None and evaluate is None:
        raise ValueError("max_loss needs evaluate, a function that scores the module")
