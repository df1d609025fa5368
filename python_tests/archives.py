"""Archives made without training, for tests: every section kind, codec and dtype, from seeded random numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.decoders import Float32Decoder, Float32Layer, IntegerDecoder, IntegerLayer
from vaecomp_native.kernels import digest, unchunk

LATENT, CHUNK_LENGTH, CHUNKS = 6, 40, 70
EXACT_DTYPES = [
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
    *(ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2),
]


@dataclass(frozen=True)
class Sample:
    """An archive and the arrays it must decode to."""

    data: bytes
    arrays: dict[str, npt.NDArray[Any]]


def integer_decoder(generator: np.random.Generator) -> IntegerDecoder:
    def ints(low: int, high: int, shape: object, dtype: str) -> npt.NDArray[Any]:
        return generator.integers(low, high, shape).astype(dtype)

    hidden = IntegerLayer(
        ints(-40, 41, (9, LATENT), "int8"),
        ints(-99, 100, 9, "int32"),
        multiplier=ints(0, 2**31, 9, "int32"),
        shift=ints(28, 34, 9, "uint8"),
    )
    last = IntegerLayer(
        ints(-3, 4, (CHUNK_LENGTH, 9), "int8"),
        np.zeros(CHUNK_LENGTH, np.int32),
        scale=np.full(CHUNK_LENGTH, 2.0**-9, np.float32),
    )
    return IntegerDecoder((hidden, last))


def float32_decoder(generator: np.random.Generator) -> Float32Decoder:
    def normal(*shape: int) -> npt.NDArray[np.float32]:
        return generator.standard_normal(shape).astype(np.float32)

    return Float32Decoder(
        (
            Float32Layer(normal(9, LATENT), normal(9)),
            Float32Layer(normal(CHUNK_LENGTH, 9), normal(CHUNK_LENGTH)),
        )
    )


def make_sample(seed: int = 0) -> Sample:
    """One archive with two decoders, raw tensors of every dtype, tied, empty and 0-d ones."""
    generator = np.random.default_rng(seed)
    integers, floats = integer_decoder(generator), float32_decoder(generator)
    z = generator.integers(-30, 31, (CHUNKS, LATENT)).astype(np.int8)
    y = generator.standard_normal((3, LATENT)).astype(np.float32)
    padding = 13
    flat = CHUNKS * CHUNK_LENGTH - padding
    latent_specs: dict[str, tuple[tuple[int, ...], Any]] = {
        "encoder.weight": ((30, 50), np.float32),
        "encoder.bias": ((300,), ml_dtypes.bfloat16),
        "скаляр": ((), np.float64),
        "head": ((flat - 1801,), np.float16),
    }
    float_specs = {"float.weight": ((3, CHUNK_LENGTH), np.dtype(np.float32))}
    exact = {f"exact.{np.dtype(dtype).name}": _exact(generator, dtype) for dtype in EXACT_DTYPES}
    exact |= {
        "scalar": np.array(7, np.int64),
        "empty": np.zeros((0, 3), np.float32),
        "": np.array([1.5, np.nan, np.inf], np.float32),
    }
    arrays: dict[str, npt.NDArray[Any]] = {}
    for specs, values in (
        (latent_specs, integers.forward(z)),
        (float_specs, floats.forward(y)),
    ):
        arrays |= zip(specs, unchunk(values, list(specs.values())), strict=True)
    arrays |= exact
    sections = [
        ("integer_decoder", _encode(integers)),
        (
            "latents",
            _core.encode_int8_latents(0, CHUNK_LENGTH, padding, z, [CHUNKS * 2, CHUNKS * 4]),
        ),
        (
            "float32_decoder",
            _core.encode_float32_decoder([(la.weight, la.bias) for la in floats.layers]),
        ),
        ("latents", _core.encode_float32_latents(2, CHUNK_LENGTH, 0, y)),
        ("raw", b"".join(array.tobytes() for array in exact.values())),
    ]
    home = dict.fromkeys(latent_specs, ("latent", 1)) | dict.fromkeys(float_specs, ("latent", 3))
    rows: list[tuple[Any, ...]] = []
    for name, array in arrays.items():
        codec, section = home.get(name, ("raw", 4))
        rows.append((name, codec, array.shape, array.dtype, section, digest(array)))
    rows.append(("tied", "alias", 0))
    arrays["tied"] = arrays["encoder.weight"]
    return Sample(_core.write_archive([("format", "pt"), ("ключ", "值")], sections, rows), arrays)


def _encode(decoder: IntegerDecoder) -> bytes:
    layers = [layer.arrays() for layer in decoder.layers]
    return _core.encode_integer_decoder(layers, [[la.weight.size] for la in decoder.layers])


def _exact(generator: np.random.Generator, dtype: Any) -> npt.NDArray[Any]:
    dtype = np.dtype(dtype)
    if dtype == np.bool_:
        return generator.integers(0, 2, (2, 5)).astype(np.bool_)
    if dtype.kind in "iu":
        return np.frombuffer(generator.bytes(10 * dtype.itemsize), dtype).reshape(2, 5).copy()
    if dtype.kind == "c":
        return (generator.standard_normal((2, 5)) + 1j).astype(dtype)
    return generator.standard_normal((2, 5)).astype(dtype)
