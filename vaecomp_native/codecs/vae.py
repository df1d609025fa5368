"""The latent codec: chunks through a variational autoencoder, its decoder and latents into the file.

After Cheng et al. 2024 (arXiv 2408.14513), with the decoder in the archive and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.codecs.sections import EncodedTensors, SectionKind
from vaecomp_native.codecs.segments import choose_segments
from vaecomp_native.decoders import Float32Decoder, IntegerDecoder
from vaecomp_native.kernels import flatten_chunk, unchunk
from vaecomp_native.progress import Progress

if TYPE_CHECKING:
    from vaecomp_native.training import TrainingConfig

Array = npt.NDArray[Any]
Float32Array = npt.NDArray[np.float32]
DecoderKind = Literal["compact", "paper", "float32"]
DECODERS: tuple[DecoderKind, ...] = ("compact", "paper", "float32")
IMPORTANCE_POWER = -0.5
"""Errors count in proportion to this power of their tensor's standard deviation: between absolute errors (0), which
drown small layers, and relative ones (-1), which overrate them. Chosen on validation accuracy."""


def encode_vae(
    arrays: Mapping[str, Array],
    *,
    decoder: DecoderKind,
    chunk_length: int,
    config: TrainingConfig,
    progress: Progress,
) -> EncodedTensors:
    """Train a VAE on float arrays and encode them with its decoder.

    "compact" and "paper" are integer decoders: a small entropy-coded one, and the paper's size; "float32" is the
    paper's set-up. Raises TrainingError, and ValueError for a bad option.
    """
    from vaecomp_native import training

    tensors = list(arrays.values())
    chunks, padding = flatten_chunk(tensors, chunk_length, threads=config.threads)
    importance = _importance(tensors, chunk_length)
    trained = training.train_vae(chunks, importance, config, progress)
    if decoder == "float32":
        float_decoder, float_latents = training.to_float32(trained, chunks)
        sections = _float32_sections(float_decoder, float_latents, padding)
        values = float_decoder.forward(float_latents, threads=config.threads)
    else:
        precision = {
            "compact": training.WeightPrecision.COARSE,
            "paper": training.WeightPrecision.INT8,
        }[decoder]
        integer_decoder, latents = training.to_integer(
            trained, chunks, importance, precision, config, progress
        )
        sections = _integer_sections(integer_decoder, latents, padding)
        values = integer_decoder.forward(latents, threads=config.threads)
    decoded = unchunk(values, [(array.shape, array.dtype) for array in tensors])
    return EncodedTensors(sections, dict(zip(arrays, decoded, strict=True)), trained.history)


def _importance(tensors: Sequence[Array], chunk_length: int) -> Float32Array:
    """Factors of the errors, float32 [K, C], zero in the padding."""
    factors = [
        np.full(array.shape, _spread(array) ** IMPORTANCE_POWER, np.float32) for array in tensors
    ]
    return flatten_chunk(factors, chunk_length)[0]


def _spread(array: Array) -> float:
    """Standard deviation of a tensor, or where that is zero its magnitude, or 1."""
    values = array.astype(np.float64)
    return float(values.std()) or float(np.abs(values).max()) or 1.0


def _integer_sections(
    decoder: IntegerDecoder, latents: npt.NDArray[np.int8], padding: int
) -> list[tuple[SectionKind, bytes]]:
    segments = [choose_segments(layer.weight) for layer in decoder.layers]
    layers = [layer.arrays() for layer in decoder.layers]
    return [
        ("integer_decoder", _core.encode_integer_decoder(layers, segments)),
        (
            "latents",
            _core.encode_int8_latents(
                0, decoder.chunk_length, padding, latents, choose_segments(latents)
            ),
        ),
    ]


def _float32_sections(
    decoder: Float32Decoder, latents: Float32Array, padding: int
) -> list[tuple[SectionKind, bytes]]:
    layers = [(layer.weight, layer.bias) for layer in decoder.layers]
    return [
        ("float32_decoder", _core.encode_float32_decoder(layers)),
        (
            "latents",
            _core.encode_float32_latents(0, decoder.chunk_length, padding, latents),
        ),
    ]
