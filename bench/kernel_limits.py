"""Figures of the kernels beside the machine's limits and other libraries for the same work."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from inputs import (
    CHUNK_LENGTH,
    DECODER_WEIGHTS,
    HIDDEN,
    LATENT,
    Models,
    Scale,
    float32_layers,
    integer_layers,
)
from peaks import Peaks
from results import Results
from timing import Function, medians
from torch import nn

from vaecomp_native import kernels
from vaecomp_native.decoders import Float32Decoder, Float32Layer, IntegerDecoder, IntegerLayer


def integer_decoder(rng: np.random.Generator) -> IntegerDecoder:
    hidden, (weight, bias, scale) = integer_layers(rng)
    return IntegerDecoder((IntegerLayer(*hidden), IntegerLayer(weight, bias, scale=scale)))


def int8_latents(rng: np.random.Generator, chunks: int) -> npt.NDArray[np.int8]:
    return rng.integers(-128, 128, (chunks, LATENT)).astype(np.int8)


def decoders(models: Models, peaks: Peaks, results: Results) -> None:
    """Time both decoders beside the machine's peaks and beside PyTorch.

    They write to existing memory beside the peaks. Beside PyTorch, which allocates its outputs,
    they write to new memory.
    """
    rng = np.random.default_rng(1)
    scale = models.scale
    int8 = integer_decoder(rng)
    fp32 = Float32Decoder(tuple(Float32Layer(*layer) for layer in float32_layers(rng)))
    latents = int8_latents(rng, scale.chunks)
    float_latents = latents.astype(np.float32) / np.float32(64)
    out = np.zeros((scale.chunks, CHUNK_LENGTH), np.float32)
    network = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CHUNK_LENGTH))
    inputs = torch.from_numpy(float_latents)
    with torch.inference_mode():
        seconds = medians(
            {
                "int8 peak": lambda: peaks.run("int8"),
                "fp32 peak": lambda: peaks.run("fp32"),
                "int8": lambda: int8.forward(latents, out=out, threads=1),
                "fp32": lambda: fp32.forward(float_latents, out=out, threads=1),
                "int8, new memory": lambda: int8.forward(latents, threads=1),
                "torch": lambda: network(inputs),
            },
            scale.samples,
            scale.min_seconds,
        )
    work = scale.chunks * DECODER_WEIGHTS / 1e9
    for kind in ("int8", "fp32"):
        peak = peaks.run(kind) / 1e9 / seconds[f"{kind} peak"]
        results.ratio(f"{kind}_decoder_vs_peak", work / seconds[kind] / peak)
        results.note(f"{kind}_peak_gmac_s", peak)
        results.note(f"{kind}_peak_instructions", peaks.name(kind))
        results.note(f"{kind}_decoder_gmac_s", work / seconds[kind])
        results.note(f"{kind}_decoder_ms", 1e3 * seconds[kind])
    results.ratio("int8_decoder_vs_torch_fp32", seconds["torch"] / seconds["int8, new memory"])
    results.note("int8_decoder_new_memory_ms", 1e3 * seconds["int8, new memory"])
    results.note("torch_fp32_ms", 1e3 * seconds["torch"])
    results.note("torch_fp32_gmac_s", work / seconds["torch"])


def copies(models: Models, peaks: Peaks, results: Results) -> None:
    """Time chunk and unchunk beside memcpy of as many bytes.

    The figure is the smaller ratio of a small and a large model.
    """
    ratios: dict[str, list[float]] = {"unchunk": [], "chunk": []}
    for model, weights in (("lstm", models.lstm), ("transformer", models.transformer)):
        tensors = list(weights.values())
        seconds = medians(_copies(tensors, peaks), models.scale.samples, models.scale.min_seconds)
        gigabytes = sum(tensor.nbytes for tensor in tensors) / 1e9
        for name, own in seconds.items():
            results.note(f"{name}_{model}_gb_s", gigabytes / own)
        for name, found in ratios.items():
            found.append(seconds["memcpy"] / seconds[name])
    for name, found in ratios.items():
        results.ratio(f"{name}_vs_memcpy", min(found))


def _copies(tensors: Sequence[npt.NDArray[Any]], peaks: Peaks) -> dict[str, Function]:
    chunks, _ = kernels.flatten_chunk(tensors, CHUNK_LENGTH)
    specs = [(tensor.shape, tensor.dtype) for tensor in tensors]
    arrays = [tensor.copy() for tensor in tensors]
    source = np.concatenate([tensor.reshape(-1) for tensor in tensors])
    target = source.copy()
    return {
        "memcpy": lambda: peaks.copy(target, source),
        "chunk": lambda: kernels.flatten_chunk(tensors, CHUNK_LENGTH, out=chunks, threads=1),
        "unchunk": lambda: kernels.unchunk(chunks, specs, out=arrays, threads=1),
    }


def entropy(models: Models, peaks: Peaks, results: Results) -> None:
    """Time decoding one long rANS stream beside constriction with the same frequencies."""
    symbols, frequencies = peaked_symbols(models.scale)
    stream, out = kernels.encode_symbols(symbols, [symbols.size]), np.zeros_like(symbols)
    functions: dict[str, Function] = {
        "rans_decode": lambda: kernels.decode_symbols(stream, out=out, threads=1)
    }
    functions |= _constriction(symbols, frequencies)
    seconds = medians(functions, models.scale.samples, models.scale.min_seconds)
    rates = {name: symbols.size / 1e6 / each for name, each in seconds.items()}
    for name, rate in rates.items():
        results.note(f"{name}_msymbols_s", rate)
    results.note("rans_bits_a_symbol", 8 * len(stream) / symbols.size)
    own = rates.pop("rans_decode")
    results.ratio("rans_decode_vs_constriction", own / max(rates.values()) if rates else None)


def peaked_symbols(scale: Scale) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Make shuffled symbols of about 2 bits each, from 0 up, and their frequencies of sum 4,096."""
    frequencies = np.floor(1200 * np.exp(-np.abs(np.arange(-8, 9)) / 1.2)).astype(np.int64) + 1
    frequencies[8] += 4096 - frequencies.sum()
    symbols = np.repeat(np.arange(17, dtype=np.int32), frequencies * (scale.symbols // 4096))
    return np.random.default_rng(2).permutation(symbols), frequencies


def _constriction(
    symbols: npt.NDArray[np.int32], frequencies: npt.NDArray[np.int64]
) -> dict[str, Function]:
    """Return decoding by constriction's stack coder with the two models that suit a fixed table.

    The result is empty if constriction is not installed.
    """
    if importlib.util.find_spec("constriction") is None:
        return {}
    import constriction

    coder = constriction.stream.stack.AnsCoder
    categorical = constriction.stream.model.Categorical

    def decoding(model: Any) -> Function:
        encoder = coder()
        encoder.encode_reverse(symbols, model)
        words = encoder.get_compressed()
        assert np.array_equal(coder(words).decode(model, symbols.size), symbols)
        return lambda: coder(words).decode(model, symbols.size)

    probabilities = (frequencies / 4096).astype(np.float32)
    return {
        "constriction": decoding(categorical(probabilities, perfect=False)),
        "constriction_lazy": decoding(categorical(probabilities, lazy=True)),
    }


def noise(models: Models, peaks: Peaks, results: Results) -> None:
    """Time noise on every position beside NumPy's normal deviates, which are added to nothing."""
    base = np.zeros(models.scale.deviates, np.float32)
    out, rng = np.zeros((1, base.size), np.float32), np.random.default_rng(3)
    seconds = medians(
        {
            "ours": lambda: kernels.noise_variants(
                base, 1, probability=1.0, sigma=1.0, seed=7, out=out, threads=1
            ),
            "numpy": lambda: rng.standard_normal(dtype=np.float32, out=out),
        },
        models.scale.samples,
        models.scale.min_seconds,
    )
    results.ratio("noise_vs_numpy", seconds["numpy"] / seconds["ours"])
    results.note("noise_melements_s", base.size / 1e6 / seconds["ours"])
    results.note("numpy_normal_melements_s", base.size / 1e6 / seconds["numpy"])
