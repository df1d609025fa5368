"""The latent codec: chunks through a variational autoencoder, its decoder and latents into the file.

After Cheng et al. 2024 (arXiv 2408.14513), with the decoder in the archive and counted.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.codecs.sections import EncodedTensors, SectionKind
from vaecomp_native.codecs.segments import choose_segments
from vaecomp_native.codecs.vae.config import TrainingConfig, VaeConfig
from vaecomp_native.decoders import Float32Decoder, IntegerDecoder
from vaecomp_native.kernels import flatten_chunk, unchunk
from vaecomp_native.progress import Progress

Array = npt.NDArray[Any]
Float32Array = npt.NDArray[np.float32]
HIDDEN = 512
"""Width of the decoder's hidden layer, and the most that a compact decoder gets."""
MIN_HIDDEN = 32
"""Of a compact decoder: with fewer units all may happen to be silent for some chunk."""


def encode_vae(
    arrays: Mapping[str, Array],
    *,
    config: VaeConfig,
    threads: int,
    progress: Progress,
) -> EncodedTensors:
    """Train a VAE on float arrays and encode them with its decoder.

    Raises TrainingError, ValueError for a device that there is none of, and ModuleNotFoundError
    without PyTorch.
    """
    vae_training = _import_training()
    training = TrainingConfig(**dataclasses.asdict(config), threads=threads)
    tensors = list(arrays.values())
    chunks, padding = flatten_chunk(tensors, config.chunk_length, threads=threads)
    importance = vae_training.tensor_importance(tensors, config.chunk_length)
    # With a unit for every chunk the last layer fits them all; more would only cost bytes.
    fitting = min(HIDDEN, max(MIN_HIDDEN, len(chunks)))
    hidden = fitting if config.decoder == "compact" else HIDDEN
    if len(chunks) > hidden:
        warnings.warn(
            f"{len(chunks)} chunks are more than the decoder's {hidden} hidden units can hold; check the "
            'relative_error of the report, or use codec="raw"',
            stacklevel=3,
        )
    training = dataclasses.replace(training, hidden=hidden)
    trained = vae_training.train_vae(chunks, importance, training, progress)
    if config.decoder == "float32":
        float_decoder, float_latents = vae_training.to_float32(trained, chunks)
        sections = _float32_sections(float_decoder, float_latents, padding)
        values = float_decoder.forward(float_latents, threads=threads)
    else:
        precision = {
            "compact": vae_training.WeightPrecision.COARSE,
            "paper": vae_training.WeightPrecision.INT8,
        }[config.decoder]
        integer_decoder, latents = vae_training.to_integer(
            trained, chunks, importance, precision, training, progress
        )
        sections = _integer_sections(integer_decoder, latents, padding)
        values = integer_decoder.forward(latents, threads=threads)
    decoded = unchunk(values, [(array.shape, array.dtype) for array in tensors])
    return EncodedTensors(sections, dict(zip(arrays, decoded, strict=True)), trained.history)


def _import_training() -> ModuleType:
    try:
        from vaecomp_native.codecs.vae import training
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the latent codec trains with PyTorch, but there is no module {error.name}; "
            'install it with: pip install "vaecomp_native[train]"',
            name=error.name,
        ) from error
    return training


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
