"""Each kernel beside its NumPy reference, on one thread: pytest bench --benchmark-json=FILE.

`bench/summary.py` turns the JSON into a table. A benchmark's group names the kernel, and its
parameter `implementation` names the code that is measured. Set OMP_NUM_THREADS=1, because the
reference multiplies matrices with NumPy's BLAS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from vaecomp_native import kernels, reference
from vaecomp_native.decoders import Float32Decoder, Float32Layer, IntegerDecoder, IntegerLayer

CHUNK_LENGTH = 2048
NATIVE_OR_REFERENCE = pytest.mark.parametrize("implementation", ["native", "reference"])


def measure(benchmark: BenchmarkFixture, function: Callable[[], Any], implementation: str) -> None:
    """Time a function. The slow references run a few times, all others as often as usual."""
    if implementation == "reference":
        benchmark.pedantic(function, rounds=5, warmup_rounds=1)  # type: ignore[no-untyped-call]
    else:
        benchmark(function)


@pytest.mark.parametrize("implementation", ["native", "reference", "memcpy"])
@pytest.mark.benchmark(group="flatten_chunk")
def test_flatten_chunk(
    benchmark: BenchmarkFixture, implementation: str, tensors: list[npt.NDArray[np.float32]]
) -> None:
    chunks, _ = reference.flatten_chunk(tensors, CHUNK_LENGTH)
    out, source = np.empty_like(chunks), chunks.copy()
    functions: Mapping[str, Callable[[], Any]] = {
        "native": lambda: kernels.flatten_chunk(tensors, CHUNK_LENGTH, out=out, threads=1),
        "reference": lambda: reference.flatten_chunk(tensors, CHUNK_LENGTH),
        "memcpy": lambda: np.copyto(out, source),
    }
    measure(benchmark, functions[implementation], implementation)


@NATIVE_OR_REFERENCE
@pytest.mark.benchmark(group="flatten_chunk, float16")
def test_flatten_chunk_of_float16(
    benchmark: BenchmarkFixture, implementation: str, tensors: list[npt.NDArray[np.float32]]
) -> None:
    halves = [tensor.astype(np.float16) for tensor in tensors]
    out = np.empty_like(reference.flatten_chunk(halves, CHUNK_LENGTH)[0])
    functions: Mapping[str, Callable[[], Any]] = {
        "native": lambda: kernels.flatten_chunk(halves, CHUNK_LENGTH, out=out, threads=1),
        "reference": lambda: reference.flatten_chunk(halves, CHUNK_LENGTH),
    }
    measure(benchmark, functions[implementation], implementation)


@NATIVE_OR_REFERENCE
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_unchunk(
    benchmark: BenchmarkFixture,
    implementation: str,
    dtype: str,
    tensors: list[npt.NDArray[np.float32]],
) -> None:
    benchmark.group = f"unchunk, {dtype}"
    chunks, _ = reference.flatten_chunk(tensors, CHUNK_LENGTH)
    specs = [(tensor.shape, np.dtype(dtype)) for tensor in tensors]
    functions: Mapping[str, Callable[[], Any]] = {
        "native": lambda: kernels.unchunk(chunks, specs, threads=1),
        "reference": lambda: reference.unchunk(chunks, specs),
    }
    measure(benchmark, functions[implementation], implementation)


@NATIVE_OR_REFERENCE
@pytest.mark.parametrize("probability", [0.05, 1.0])
def test_noise_variants(
    benchmark: BenchmarkFixture,
    implementation: str,
    probability: float,
    tensors: list[npt.NDArray[np.float32]],
) -> None:
    benchmark.group = f"noise_variants, probability {probability}"
    base = np.concatenate([tensor.reshape(-1) for tensor in tensors])
    noise: dict[str, Any] = {"probability": probability, "sigma": 0.01, "seed": 7}
    functions: Mapping[str, Callable[[], Any]] = {
        "native": lambda: kernels.noise_variants(base, 10, **noise, threads=1),
        "reference": lambda: reference.noise_variants(base, 10, **noise),
    }
    measure(benchmark, functions[implementation], implementation)


def decode_with_blas(
    layers: list[tuple[npt.NDArray[Any], ...]], latents: npt.NDArray[np.int8]
) -> npt.NDArray[np.float32]:
    """Run the integer decoder by float64 matrix products, which are exact here.

    This is the fastest way in NumPy.
    """
    (weight, bias, multiplier, shift), (last_weight, last_bias, scale) = layers
    sums = latents.astype(np.float64) @ weight.T.astype(np.float64) + bias
    hidden = np.clip(np.floor(sums * np.ldexp(multiplier, -shift.astype(int)) + 0.5), 0, 127)
    outputs = hidden @ last_weight.T.astype(np.float64) + last_bias
    return outputs.astype(np.float32) * scale


@pytest.mark.parametrize("implementation", ["native", "reference", "float64 BLAS"])
@pytest.mark.benchmark(group="decoder_i8")
def test_integer_decoder(
    benchmark: BenchmarkFixture,
    implementation: str,
    integer_layers: list[tuple[npt.NDArray[Any], ...]],
    rng: np.random.Generator,
) -> None:
    hidden, (weight, bias, scale) = integer_layers
    latents = rng.integers(-128, 128, (105, hidden[0].shape[1])).astype(np.int8)
    decoder = IntegerDecoder((IntegerLayer(*hidden), IntegerLayer(weight, bias, scale=scale)))
    functions: Mapping[str, Callable[[], Any]] = {
        "native": lambda: decoder.forward(latents, threads=1),
        "reference": lambda: reference.decoder_i8(integer_layers, latents),
        "float64 BLAS": lambda: decode_with_blas(integer_layers, latents),
    }
    measure(benchmark, functions[implementation], implementation)


@NATIVE_OR_REFERENCE
@pytest.mark.benchmark(group="decoder_f32")
def test_float32_decoder(
    benchmark: BenchmarkFixture,
    implementation: str,
    float32_layers: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]],
    rng: np.random.Generator,
) -> None:
    latents = rng.standard_normal((16, float32_layers[0][0].shape[1])).astype(np.float32)
    decoder = Float32Decoder(tuple(Float32Layer(*layer) for layer in float32_layers))
    functions: Mapping[str, Callable[[], Any]] = {
        "native": lambda: decoder.forward(latents, threads=1),
        "reference": lambda: reference.decoder_f32(float32_layers, latents),
    }
    measure(benchmark, functions[implementation], implementation)


@NATIVE_OR_REFERENCE
@pytest.mark.benchmark(group="encode_symbols")
def test_encode_symbols(
    benchmark: BenchmarkFixture, implementation: str, symbols: npt.NDArray[np.int32]
) -> None:
    module = {"native": kernels, "reference": reference}[implementation]
    segments = [symbols.size // 64] * 64
    measure(benchmark, lambda: module.encode_symbols(symbols, segments), implementation)


@NATIVE_OR_REFERENCE
@pytest.mark.benchmark(group="decode_symbols")
def test_decode_symbols(
    benchmark: BenchmarkFixture, implementation: str, symbols: npt.NDArray[np.int32]
) -> None:
    stream = kernels.encode_symbols(symbols, [symbols.size // 64] * 64)
    functions: Mapping[str, Callable[[], Any]] = {
        "native": lambda: kernels.decode_symbols(stream, threads=1),
        "reference": lambda: reference.decode_symbols(stream),
    }
    measure(benchmark, functions[implementation], implementation)


@NATIVE_OR_REFERENCE
@pytest.mark.benchmark(group="crc32c, 4 MiB")
def test_crc32c(benchmark: BenchmarkFixture, implementation: str, rng: np.random.Generator) -> None:
    data = rng.bytes(1 << 22)
    module = {"native": kernels, "reference": reference}[implementation]
    measure(benchmark, lambda: module.crc32c(data), implementation)


@NATIVE_OR_REFERENCE
@pytest.mark.benchmark(group="digest, 4 MiB")
def test_digest(benchmark: BenchmarkFixture, implementation: str, rng: np.random.Generator) -> None:
    array = rng.standard_normal(1 << 20).astype(np.float32)
    functions: Mapping[str, Callable[[], Any]] = {
        "native": lambda: kernels.digest(array, threads=1),
        "reference": lambda: reference.digest(array),
    }
    measure(benchmark, functions[implementation], implementation)
