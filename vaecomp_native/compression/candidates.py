"""The codecs that `compress` chooses from: each makes a whole archive."""

from __future__ import annotations

import functools
import math
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy.typing as npt

from vaecomp_native.codecs.assembly import Finished, draft_of
from vaecomp_native.codecs.lossless import encode_exact, encode_lossless
from vaecomp_native.codecs.quantized import encode_matrices, encode_quantized
from vaecomp_native.codecs.sections import EncodedTensors, encode_raw
from vaecomp_native.codecs.vae.codec import encode_vae
from vaecomp_native.codecs.vae.config import VaeConfig
from vaecomp_native.compression.estimates import index_bytes, lossless_bytes
from vaecomp_native.compression.fit import Fit, Fitter, fitting, trial_model
from vaecomp_native.compression.operators import by_themselves
from vaecomp_native.compression.options import Codec
from vaecomp_native.compression.request import Request
from vaecomp_native.errors import TrainingError, UnreachableError
from vaecomp_native.io.scratch import Scratch
from vaecomp_native.quantization.matrix import QuantizedMatrix

Array = npt.NDArray[Any]
COARSE_DISTORTION = 0.25
"""The distortion of a decoder that a residual corrects. A finer one costs more than it saves."""
SIZE_ATTEMPTS = 6
EXACT_SECTIONS = "differences", "lossless", "raw"
NAMES_TOLD = 3
"""The maximum length of a list in a message. The last item counts what is not named."""


@dataclass(frozen=True)
class Candidate:
    """An archive that a codec made, and how."""

    codec: Codec
    archive: Finished
    parts: Sequence[EncodedTensors]
    decoded: Mapping[str, Array]
    history: Sequence[Mapping[str, float]] = ()
    rate_weight: float | None = None
    score_original: float | None = None
    score: float | None = None
    kept_exact: frozenset[str] = frozenset()
    """Tensors whose values are too far apart for the fit's steps."""

    @property
    def size(self) -> int:
        """Bytes of the archive."""
        return self.archive.size


Maker = Callable[[Fit], Candidate]


def encode_raw_archive(request: Request) -> Candidate:
    """Make an archive of all tensors as they are."""
    return _candidate(request, "raw", [encode_raw(request.state.arrays)])


def encode_lossless_archive(request: Request) -> Candidate:
    """Make an archive of all tensors bit for bit, entropy-coded."""
    return _candidate(
        request, "lossless", [encode_lossless(request.state.arrays, threads=request.threads)]
    )


def encode_vae_archive(request: Request) -> Candidate:
    """Make an archive with the latent codec. Tensors that it does not take are exact."""
    lossy = {name: request.floats[name] for name in by_themselves(request.floats)}
    parts = [_encode_vae(request, lossy, request.vae)] if lossy else []
    return _candidate(request, "vae", [*parts, *_exact(request, request.others(lossy))])


def encode_quantized_archive(request: Request, codec: Codec, original: float | None) -> Candidate:
    """Make the archive of "quantized" or "vae+residual" at the request's target.

    `original` is the score of the original weights. Raises UnreachableError, which names what can
    be reached, and TrainingError.
    """
    with fitting(
        request.floats, request.quantizer, request.model, request.threads, request.progress
    ) as fitter:
        if codec == "quantized":
            return _fitted(
                request, fitter, original, functools.partial(_assemble_quantized, request)
            )
        return _fitted(request, fitter, original, _DecoderAndResidual(request, fitter))


def scored(
    request: Request, candidates: Sequence[Candidate], original: float | None
) -> list[Candidate]:
    """Add to candidates the scores of their decoded archives, if there is a score."""
    if original is None or request.model is None:
        return list(candidates)
    result = []
    scratch = Scratch()
    floats = {name: scratch.copy(array) for name, array in request.floats.items()}
    with trial_model(floats, replace(request.model, batches=())).restored() as trial:
        for candidate in candidates:
            arrays = candidate.archive.decode(request.threads)
            trial.replace({name: arrays[name] for name in floats})
            score = request.model.score()
            result.append(replace(candidate, score_original=original, score=score))
    return result


def _fitted(request: Request, fitter: Fitter, original: float | None, make: Maker) -> Candidate:
    target = request.target
    if target.file_bytes is not None:
        return _of_size(target.file_bytes, _fixed_bytes(request, fitter), fitter, make)
    if target.max_loss is not None:
        assert original is not None
        fit = fitter.keeping_score(original - target.max_loss)
    elif target.rate_weight is not None:
        fit = fitter.at_rate_weight(target.rate_weight)
    else:
        assert target.weight_bits is not None
        fit = fitter.at_bits(target.weight_bits * fitter.encoder.parameters)
    return make(fit)


def _fixed_bytes(request: Request, fitter: Fitter) -> int:
    """About the bytes of an archive that do not change with the rate weight."""
    quantized = {name: None for one in fitter.encoder.operators for name in one.tensors}
    return lossless_bytes(request.others(quantized)) + index_bytes(request.state.names)


def _of_size(goal: int, fixed_bytes: int, fitter: Fitter, make: Maker) -> Candidate:
    """Search for the largest archive of no more than `goal` bytes."""
    tolerance = fitter.size_tolerance
    aim = (1 - tolerance / 2) * goal
    asked = 8.0 * max(aim - fixed_bytes, goal / 16)
    best: Candidate | None = None
    smallest: tuple[int, str] | None = None
    for _ in range(SIZE_ATTEMPTS):
        fit = fitter.at_bits(asked)
        candidate = make(fit)
        assert fit.bits is not None
        size, expected = candidate.size, fit.bits
        if smallest is None or size < smallest[0]:
            smallest = size, told_exact(candidate)
        if size <= goal and (best is None or size > best.size):
            best = candidate
        del candidate, fit  # a large model leaves no room for two
        if (1 - tolerance) * goal <= size <= goal or not fitter.encoder.operators:
            break
        # Bytes that do not shrink with the symbols are subtracted first.
        fixed = max(8.0 * size - expected, 0.0)
        wanted = max(8.0 * aim - fixed, expected / 16)
        if size <= goal and math.isclose(wanted, asked, rel_tol=tolerance / 10):
            break
        # Not every size has a rate weight: ask for less until a smaller archive comes.
        excess = 8.0 * (size - goal)
        asked = wanted if excess <= 0 or wanted < asked else max(asked - 1.5 * excess, asked / 2)
    if best is None:
        assert smallest is not None
        size, exact = smallest
        raise UnreachableError(
            f"no archive of {goal:,} bytes was found; the smallest tried has {size:,}{exact}: "
            "ask for more bytes or bits_per_weight"
        )
    return best


def told_exact(candidate: Candidate) -> str:
    """Say how many bytes of an archive are tensors kept exact, and name the largest ones."""
    parts = [part for part in candidate.parts if part.sections[-1][0] in EXACT_SECTIONS]
    sizes = {name: array.nbytes for part in parts for name, array in part.decoded.items()}
    if not sizes:
        return ""
    names = [f"'{name}'" for name in sorted(sizes, key=lambda name: -sizes[name])]
    if len(names) > NAMES_TOLD:
        names[NAMES_TOLD - 1 :] = [f"{len(names) - NAMES_TOLD + 1} more"]
    listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    size = sum(part.size() for part in parts)
    return f" ({size:,} of them in tensors kept exact: {listed})"


def _assemble_quantized(request: Request, fit: Fit) -> Candidate:
    parts = quantized_parts(request, fit.encoding.matrices)
    return _of_fit(_candidate(request, "quantized", parts), fit)


def quantized_parts(
    request: Request, matrices: Mapping[str, QuantizedMatrix]
) -> list[EncodedTensors]:
    """Encode the tensors that are quantized, and the others bit for bit."""
    lossy = {name: array for name, array in request.state.arrays.items() if name in matrices}
    parts = [encode_quantized(lossy, matrices)] if lossy else []
    return [*parts, *_exact(request, request.others(lossy))]


class _DecoderAndResidual:
    """Makes archives of a small decoder and a quantized residual.

    The decoder's output is the base, and the residual is what it leaves. The residual's steps are
    those that the fit gives the weights themselves. Vectors have no base: they take few bytes and
    need more precision than a decoder has.
    """

    def __init__(self, request: Request, fitter: Fitter) -> None:
        self._request = request
        self._fitter = fitter
        self._bases: dict[tuple[str, ...], EncodedTensors] = {}

    def __call__(self, fit: Fit) -> Candidate:
        """Make the archive of a fit. Raises TrainingError."""
        request, encoder = self._request, self._fitter.encoder
        quantized = [name for name in request.state.names if name in fit.encoding.matrices]
        vectors = {
            name: encoder.arrays[name] for name in quantized if encoder.arrays[name].ndim < 2
        }
        based = {name: encoder.arrays[name] for name in quantized if name not in vectors}
        vae = self._base(based) if based else EncodedTensors([], {})
        rest = vectors | {name: array - vae.decoded[name] for name, array in based.items()}
        matrices = self._quantize(rest, fit)
        parts = [_on_base(vae, matrices)] if based else []
        parts += [encode_quantized(vectors, matrices)] if vectors else []
        exact = _exact(request, request.others(rest))
        return _of_fit(_candidate(request, "vae+residual", [*parts, *exact]), fit)

    def _base(self, lossy: Mapping[str, Array]) -> EncodedTensors:
        names = tuple(lossy)
        if names not in self._bases:
            config = replace(self._request.vae, decoder="compact", distortion=COARSE_DISTORTION)
            self._bases[names] = _encode_vae(self._request, lossy, config)
        return self._bases[names]

    def _quantize(self, rest: Mapping[str, Array], fit: Fit) -> dict[str, QuantizedMatrix]:
        encoder = self._fitter.encoder
        weight = fit.rate_weight * self._fitter.unit
        matrices, out_of_range = encoder.quantize_instead(rest, weight)
        if out_of_range:
            raise TrainingError(
                f"the decoder leaves values of {out_of_range[0]} too far from zero: "
                "train it longer, or use codec='quantized'"
            )
        return matrices


def _on_base(vae: EncodedTensors, matrices: Mapping[str, QuantizedMatrix]) -> EncodedTensors:
    """The decoder's sections, and one of the matrices that are added to its output."""
    decoded = {
        name: base + matrices[name].values().reshape(base.shape)
        for name, base in vae.decoded.items()
    }
    # The latents are the second section of the file, and the format counts from 1 here.
    section = encode_matrices([matrices[name] for name in decoded], base=2)
    return EncodedTensors([*vae.sections, ("quantized", section)], decoded, vae.history)


def _of_fit(candidate: Candidate, fit: Fit) -> Candidate:
    unquantizable = fit.encoding.unquantizable
    return replace(candidate, rate_weight=fit.rate_weight, kept_exact=unquantizable)


def _encode_vae(request: Request, lossy: Mapping[str, Array], config: VaeConfig) -> EncodedTensors:
    return encode_vae(lossy, config=config, threads=request.threads, progress=request.progress)


def _exact(request: Request, arrays: Mapping[str, Array]) -> list[EncodedTensors]:
    return [encode_exact(arrays, threads=request.threads)] if arrays else []


def _candidate(request: Request, codec: Codec, parts: Sequence[EncodedTensors]) -> Candidate:
    # A dict would compute all arrays: some parts make each one when asked for.
    decoded = ChainMap(*(cast("dict[str, Array]", part.decoded) for part in parts))
    history = [epoch for part in parts for epoch in part.history]
    made = draft_of(request.state, parts, threads=request.threads)
    return Candidate(codec, made, parts, decoded, history)
