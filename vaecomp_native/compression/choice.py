"""Chooses the codec: the one asked for, or the one that makes the smaller file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
from vaecomp_native.compression.options import EXACT, Codec
from vaecomp_native.compression.request import Request, Target
from vaecomp_native.compression.search import FINEST_BITS
from vaecomp_native.errors import UnreachableError, WeightsError

AUTO: tuple[Codec, ...] = ("quantized", "lossless")
"""The codecs that "auto" chooses from."""
MARGIN, MARGIN_BYTES = 1.25, 1024
"""The factor and the bytes by which a file may exceed its estimate."""


@dataclass(frozen=True)
class RunnerUp:
    """A codec that was not chosen.

    `bytes` and `score` are its archive's, None if it made none. `note` says why it was not chosen.
    `estimated_bytes` is about the size of its archive, where that is why none was made.
    """

    codec: str
    bytes: int | None
    score: float | None
    note: str
    estimated_bytes: int | None = None


@dataclass(frozen=True)
class NotTried:
    """Why a codec is not tried, and about the size of its archive, if that is why."""

    why: str
    estimated_bytes: int | None = None


def encode_best(request: Request) -> tuple[Candidate, list[RunnerUp]]:
    """Make the archive of the codec asked for, or the smallest one of `AUTO`.

    The second result lists the codecs that were not chosen, those with an archive first. Raises
    UnreachableError if no archive keeps what the target promises, and WeightsError if the codec
    asked for cannot take the weights.
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
    best = min(kept, key=lambda one: (one.size, one.codec not in EXACT))
    others = sorted((one for one in made if one is not best), key=lambda one: one.size)
    return best, [
        *(
            RunnerUp(one.codec, one.size, one.score, broken[one.codec] or "larger")
            for one in others
        ),
        *(
            RunnerUp(name, None, None, one.why, one.estimated_bytes)
            for name, one in obstacles.items()
        ),
    ]


def obstacles_to(request: Request) -> dict[Codec, NotTried]:
    """Find the codecs that are not to be tried, and why.

    For "auto" these are the codecs of `AUTO` that are not worth trying. Otherwise it is the codec
    asked for, if it cannot take the weights.
    """
    codec = request.codec
    if codec == "auto":
        return obstacles_by(Estimates.of(request), request.state.names, request.target)
    floats = by_themselves(request.floats) if codec == "vae+residual" else []
    if any(request.floats[name].dtype != np.float32 for name in floats):
        return {codec: NotTried("takes float32 weights only")}
    return {}


@dataclass(frozen=True)
class Estimates:
    """About the bytes of weights: of tensors kept exact, and of the others with either codec.

    `lossless` is what the others take without loss. `least` and `most` are the limits of what they
    take quantized.
    """

    exact: int = 0
    lossless: int = 0
    least: float = 0.0
    most: float = 0.0

    @classmethod
    def of(cls, request: Request) -> Estimates:
        """Estimate the bytes of all weights of a request."""
        lossy = {name: request.floats[name] for name in by_themselves(request.floats)}
        exact = lossless_bytes(request.others(lossy))
        if not lossy:
            return cls(exact)
        least, most = (quantized_bytes(lossy, bits) for bits in _bits_range(request.target))
        return cls(exact, lossless_bytes(lossy), least, most)

    def plus(self, other: Estimates) -> Estimates:
        """The sum of both."""
        return Estimates(
            self.exact + other.exact,
            self.lossless + other.lossless,
            self.least + other.least,
            self.most + other.most,
        )


def obstacles_by(
    estimates: Estimates, names: Sequence[str], target: Target
) -> dict[Codec, NotTried]:
    """Find the codecs of `AUTO` that by these estimates cannot make the smaller archive."""
    if not estimates.lossless:
        return {"quantized": NotTried("would quantize nothing: every tensor is kept exact")}
    fixed = estimates.exact + index_bytes(names)
    lossless = fixed + estimates.lossless
    min_bytes, max_bytes = (
        _quantized_size(fixed + size, target.file_bytes)
        for size in (estimates.least, estimates.most)
    )
    if lossless <= min_bytes:
        why = f"would take about {min_bytes:,} bytes, the lossless codec about {lossless:,}"
        return {"quantized": NotTried(why, min_bytes)}
    if lossless > MARGIN * max_bytes + MARGIN_BYTES:
        why = f"would take about {lossless:,} bytes, the quantized codec about {max_bytes:,}"
        return {"lossless": NotTried(why, lossless)}
    return {}


def _bits_range(target: Target) -> tuple[float, float]:
    """The minimum and the maximum of the bits that a quantized weight may take."""
    if target.weight_bits is not None:
        return target.weight_bits, target.weight_bits
    if target.rate_weight is not None:
        # The bits that Gaussian weights take at this rate weight.
        bits = min(max(math.log2(2 * math.log(2) / target.rate_weight) / 2, 0.0), FINEST_BITS)
        return bits, bits
    if target.file_bytes is not None:
        return math.inf, math.inf
    return 0.0, FINEST_BITS


def _quantized_size(size: float, file_bytes: int | None) -> int:
    """The size of a quantized archive: `file_bytes` if given, as far as the weights fill them."""
    return round(size) if file_bytes is None else min(file_bytes, math.ceil(min(size, 1 << 62)))


def _encode_auto(
    request: Request, original: float | None, obstacles: Mapping[Codec, NotTried]
) -> tuple[list[Candidate], dict[Codec, NotTried]]:
    """Try the codecs of `AUTO` that are worth it; gives what they make, and why others do not."""
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
    """Whether a codec that was left out may make the better archive, going by its estimated size.

    It may if no archive so far keeps what the target promises, if one that does holds exact tensors
    that the target's steps are too small for, or if all of them are larger than the estimate.
    """
    target_bytes = math.inf if target.file_bytes is None else target.file_bytes
    if estimate is None or estimate > MARGIN * target_bytes + MARGIN_BYTES:
        return False
    kept = [one for one in made if not _broken_promise(one, target)]
    if not kept or any(one.kept_exact for one in kept):
        return True
    return min(one.size for one in kept) > estimate


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
    """How a candidate falls short of the target, or None if it does not."""
    size = candidate.size
    if target.file_bytes is not None and size > target.file_bytes:
        exact = "" if candidate.codec in EXACT else told_exact(candidate)
        return (
            f"codec '{candidate.codec}' takes {size:,} bytes{exact}, "
            f"more than {target.file_bytes:,}"
        )
    if target.max_loss is None or candidate.score is None or candidate.score_original is None:
        return None
    if candidate.score >= candidate.score_original - target.max_loss:
        return None
    return (
        f"codec '{candidate.codec}' scores {candidate.score:.6g}, less than "
        f"{candidate.score_original:.6g} - {target.max_loss:g}"
    )
