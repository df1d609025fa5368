"""Which codec makes the archive: the one asked for, or the one that makes the smaller file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vaecomp_native.compression.candidates import (
    Candidate,
    encode_lossless_archive,
    encode_quantized_archive,
    encode_raw_archive,
    encode_vae_archive,
    scored,
    told_exact,
)
from vaecomp_native.compression.estimates import index_bytes, lossless_bytes, quantized_bytes
from vaecomp_native.compression.operators import by_themselves
from vaecomp_native.compression.options import Codec
from vaecomp_native.compression.request import Request, Target
from vaecomp_native.compression.search import FINEST_BITS
from vaecomp_native.errors import UnreachableError, WeightsError

EXACT: tuple[Codec, ...] = ("lossless", "raw")
AUTO: tuple[Codec, ...] = ("quantized", "lossless")
"""What `codec="auto"` chooses from."""
MARGIN, MARGIN_BYTES = 1.25, 1024
"""What a file may take beyond its estimate."""


@dataclass(frozen=True)
class RunnerUp:
    """A codec that `codec="auto"` looked at: the bytes of its archive, or why it made none.

    `estimated_bytes` are about what it would take, where that is why it was not made.
    """

    codec: str
    bytes: int | None
    score: float | None
    note: str
    estimated_bytes: int | None = None


@dataclass(frozen=True)
class NotTried:
    """Why a codec is not tried, and about what it would take if that is why."""

    why: str
    estimated_bytes: int | None = None


def encode_best(request: Request) -> tuple[Candidate, list[RunnerUp]]:
    """The archive of the codec asked for, or the smallest of `AUTO`, and what else was tried.

    Raises UnreachableError if none keeps what the target promises.
    """
    obstacles, codec = obstacles_to(request), request.codec
    original = None
    if request.model is not None and request.model.evaluate is not None:
        original = request.model.score()
    if codec == "auto":
        made, obstacles = _encode_auto(request, original, obstacles)
    else:
        if codec in obstacles:
            raise WeightsError(f"codec {codec!r} {obstacles[codec].why}; use codec='quantized'")
        made = scored(request, [_encode_with(request, codec, original)], original)
    broken = {one.codec: _broken_promise(one, request.target) for one in made}
    kept = [one for one in made if not broken[one.codec]]
    if not kept:
        reasons = [one.why for name, one in obstacles.items() if name == "quantized"]
        raise UnreachableError("; ".join([*reasons, *filter(None, broken.values())]))
    best = min(kept, key=lambda one: (len(one.data), one.codec not in EXACT))
    others = sorted((one for one in made if one is not best), key=lambda one: len(one.data))
    return best, [
        *(
            RunnerUp(one.codec, len(one.data), one.score, broken[one.codec] or "larger")
            for one in others
        ),
        *(
            RunnerUp(name, None, None, one.why, one.estimated_bytes)
            for name, one in obstacles.items()
        ),
    ]


def obstacles_to(request: Request) -> dict[Codec, NotTried]:
    """Codecs of `AUTO` that are not worth trying, or why the one asked for cannot do it."""
    codec = request.codec
    if codec == "auto":
        return _not_worth_trying(request)
    floats = by_themselves(request.floats) if codec == "vae+residual" else []
    if any(request.floats[name].dtype != np.float32 for name in floats):
        return {codec: NotTried("takes float32 weights only")}
    return {}


def _not_worth_trying(request: Request) -> dict[Codec, NotTried]:
    """What estimates say cannot be the smaller one."""
    lossy = {name: request.floats[name] for name in by_themselves(request.floats)}
    if not lossy:
        return {"quantized": NotTried("would quantize nothing: every tensor is kept exact")}
    exact = lossless_bytes(request.others(lossy))
    index = index_bytes(request.state.names)
    lossless = exact + lossless_bytes(lossy) + index
    fewest, most = (
        _at_most(exact + index + quantized_bytes(lossy, bits), request.target.file_bytes)
        for bits in _bits_range(request.target)
    )
    if lossless <= fewest:
        why = f"would take about {fewest:,} bytes, the lossless codec about {lossless:,}"
        return {"quantized": NotTried(why, fewest)}
    if lossless > MARGIN * most + MARGIN_BYTES:
        why = f"would take about {lossless:,} bytes, the quantized codec about {most:,}"
        return {"lossless": NotTried(why, lossless)}
    return {}


def _bits_range(target: Target) -> tuple[float, float]:
    """The fewest and the most bits that a quantized weight may take."""
    if target.weight_bits is not None:
        return target.weight_bits, target.weight_bits
    if target.rate_weight is not None:
        # What a rate weight makes of Gaussian weights.
        bits = min(max(math.log2(2 * math.log(2) / target.rate_weight) / 2, 0.0), FINEST_BITS)
        return bits, bits
    if target.file_bytes is not None:
        return math.inf, math.inf
    return 0.0, FINEST_BITS


def _at_most(size: float, file_bytes: int | None) -> int:
    """The quantized codec fills the size that it is given, as far as weights have bits."""
    return round(size) if file_bytes is None else min(file_bytes, math.ceil(min(size, 1 << 62)))


def _encode_auto(
    request: Request, original: float | None, obstacles: Mapping[Codec, NotTried]
) -> tuple[list[Candidate], dict[Codec, NotTried]]:
    """What the codecs of `AUTO` make that are worth trying, with scores, and why the others do not."""
    made: list[Candidate] = []
    skipped = dict(obstacles)

    def attempt(codec: Codec) -> None:
        skipped.pop(codec, None)
        try:
            made.extend(scored(request, [_encode_with(request, codec, original)], original))
        except UnreachableError as error:
            skipped[codec] = NotTried(str(error))

    for codec in AUTO:
        if codec not in obstacles:
            attempt(codec)
    for codec, obstacle in obstacles.items():
        if _may_be_better(obstacle.estimated_bytes, made, request.target):
            attempt(codec)
    return made, skipped


def _may_be_better(estimate: int | None, made: list[Candidate], target: Target) -> bool:
    """Whether a codec was left out in error.

    What was made is larger than it, or is not enough, or keeps tensors exact at this target.
    """
    most = math.inf if target.file_bytes is None else MARGIN * target.file_bytes + MARGIN_BYTES
    if estimate is None or estimate > most:
        return False
    kept = [one for one in made if not _broken_promise(one, target)]
    if not kept or any(one.kept_exact for one in kept):
        return True
    return min(len(one.data) for one in kept) > estimate


def _encode_with(request: Request, codec: Codec, original: float | None) -> Candidate:
    if codec in ("quantized", "vae+residual"):
        return encode_quantized_archive(request, codec, original)
    encoders = {
        "lossless": encode_lossless_archive,
        "vae": encode_vae_archive,
        "raw": encode_raw_archive,
    }
    return encoders[codec](request)


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
