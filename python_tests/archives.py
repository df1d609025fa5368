"""Archives made without training, for tests: every section kind, codec and dtype.

Their contents are seeded random numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from vaecomp_native import _core
from vaecomp_native.decoders import Float32Decoder, Float32Layer, IntegerDecoder, IntegerLayer
from vaecomp_native.kernels import digest, unchunk
from vaecomp_native.quantization.matrix import Codebook, QuantizedMatrix, to_bfloat16

from .samples import DTYPES, any_bits

LATENT, CHUNK_LENGTH, CHUNKS = 6, 40, 70


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


@dataclass(frozen=True)
class ResidualTensor:
    """A quantized matrix with the tensor it belongs to and what chooses its frequency tables."""

    matrix: QuantizedMatrix
    shape: tuple[int, ...]
    dtype: Any
    level: int = 0
    row_levels: npt.NDArray[np.uint8] | None = None
    column_levels: npt.NDArray[np.uint8] | None = None

    def encoded(self) -> Any:
        """As encode_quantized takes it."""
        matrix = self.matrix
        book = matrix.codebook
        return (
            matrix.symbols,
            matrix.step,
            self.level,
            matrix.row_exponents,
            self.row_levels,
            matrix.column_exponents,
            self.column_levels,
            None if book is None else (book.first, book.values),
        )


def random_quantized(
    generator: np.random.Generator, shape: tuple[int, ...], dtype: Any, parts: str = ""
) -> ResidualTensor:
    """Return a quantized tensor; `parts` has a letter for each thing it shall have.

    r and c are exponents of rows and of columns, R and C are their levels, and b is a codebook.
    """
    rows = shape[0] if len(shape) > 1 else 1
    columns = int(np.prod(shape[1:] if len(shape) > 1 else shape, dtype=np.int64))

    def axis(part: str, low: int, high: int, length: int, kind: str) -> npt.NDArray[Any] | None:
        return generator.integers(low, high, length).astype(kind) if part in parts else None

    symbols = np.rint(generator.standard_normal((rows, columns)) * 2).astype(np.int32)
    values = to_bfloat16(
        generator.standard_normal(symbols.max(initial=0) - symbols.min(initial=0) + 1)
    )
    matrix = QuantizedMatrix(
        symbols,
        step=float(to_bfloat16(generator.uniform(0.01, 0.1))),
        codebook=Codebook(int(symbols.min(initial=0)), values) if "b" in parts else None,
        row_exponents=axis("r", -9, 10, rows, "int8"),
        column_exponents=axis("c", -9, 10, columns, "int8"),
    )
    return ResidualTensor(
        matrix,
        shape,
        np.dtype(dtype),
        level=int(generator.integers(0, 3)),
        row_levels=axis("R", 0, 3, rows, "uint8"),
        column_levels=axis("C", 0, 3, columns, "uint8"),
    )


def quantized_section(
    tensors: dict[str, ResidualTensor], base: int = 0, base_values: Any = None
) -> tuple[bytes, dict[str, npt.NDArray[Any]]]:
    """Return a quantized section and the arrays it decodes to.

    `base_values` are those of the base section.
    """
    flat = np.concatenate([tensor.matrix.values().reshape(-1) for tensor in tensors.values()])
    if base_values is not None:
        flat = base_values.reshape(-1)[: flat.size] + flat
    specs = [(tensor.shape, tensor.dtype) for tensor in tensors.values()]
    arrays = dict(zip(tensors, unchunk(flat.reshape(1, -1), specs), strict=True))
    return _core.encode_quantized(base, [t.encoded() for t in tensors.values()]), arrays


def make_sample(seed: int = 0) -> Sample:
    """Return one archive with every kind of section.

    It has two decoders, residuals with and without a base, tensors of every dtype stored raw and
    lossless, and tied, empty and 0-d tensors.
    """
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
    exact = {f"exact.{_core.dtype_name(dtype)}": _exact(generator, dtype) for dtype in DTYPES}
    exact |= {
        "scalar": np.array(7, np.int64),
        "empty": np.zeros((0, 3), np.float32),
        "": np.array([1.5, np.nan, np.inf], np.float32),
    }
    quantized = {
        "gru.weight": random_quantized(generator, (20, 30), np.float32, "rRcC"),
        "gru.bias": random_quantized(generator, (17,), ml_dtypes.bfloat16, "c"),
        "gru.book": random_quantized(generator, (5, 4, 3), np.float16, "brC"),
        "gru.wide": random_quantized(generator, (9, 8), np.float64, "Rb"),
        "gru.narrow": random_quantized(generator, (40,), ml_dtypes.float8_e4m3fn),
        "gru.narrower": random_quantized(generator, (2, 7), ml_dtypes.float8_e5m2, "r"),
        "gru.empty": random_quantized(generator, (0, 5), np.float16, "rc"),
        "gru.точка": random_quantized(generator, (), np.float32),
    }
    added = {
        "sum.weight": random_quantized(generator, (10, 11), np.float32, "r"),
        "sum.bias": random_quantized(generator, (40,), np.float16, "b"),
    }
    x = generator.integers(-30, 31, (4, LATENT)).astype(np.int8)
    planes = {f"planes.{_core.dtype_name(dtype)}": _exact(generator, dtype) for dtype in DTYPES}
    planes |= {
        "planes": generator.standard_normal((30, 40)).astype(ml_dtypes.bfloat16),
        "planes.few": generator.integers(-3, 4, 500),
        "planes.empty": np.zeros((3, 0), np.int16),
        "planes.scalar": np.array(-2.5, np.float64),
    }
    arrays: dict[str, npt.NDArray[Any]] = {}
    for specs, values in (
        (latent_specs, integers.forward(z)),
        (float_specs, floats.forward(y)),
    ):
        arrays |= zip(specs, unchunk(values, list(specs.values())), strict=True)
    quantized, residual_arrays = quantized_section(quantized)
    sums, sum_arrays = quantized_section(added, 7, integers.forward(x))
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
        ("quantized", quantized),
        ("latents", _core.encode_int8_latents(0, CHUNK_LENGTH, 10, x, [x.size])),
        ("quantized", sums),
        ("lossless", _core.encode_lossless(list(planes.values()))),
    ]
    home = dict.fromkeys(latent_specs, ("latent", 1)) | dict.fromkeys(float_specs, ("latent", 3))
    for codec, section, part in (
        ("raw", 4, exact),
        ("quantized", 5, residual_arrays),
        ("quantized", 7, sum_arrays),
        ("lossless", 8, planes),
    ):
        arrays |= part
        home |= dict.fromkeys(part, (codec, section))
    rows: list[tuple[Any, ...]] = [
        (name, home[name][0], array.shape, array.dtype, home[name][1], digest(array))
        for name, array in arrays.items()
    ]
    rows.append(("tied", "alias", 0))
    arrays["tied"] = arrays["encoder.weight"]
    return Sample(_core.write_archive([("format", "pt"), ("ключ", "值")], sections, rows), arrays)


def make_block_sample() -> Sample:
    """A small file whose symbols and planes reach over several blocks."""
    generator = np.random.default_rng(3)

    def sparse(count: int) -> npt.NDArray[np.bool_]:
        return generator.random(count) < 0.001

    quantized = {
        "rows": random_quantized(generator, (3, 50_000), np.float32, "rR"),
        "vector": random_quantized(generator, (130_000,), np.float16),
    }
    for part in quantized.values():
        part.matrix.symbols[:] = sparse(part.matrix.symbols.size).reshape(part.matrix.symbols.shape)
    quantized, arrays = quantized_section(quantized)
    planes = {
        "flags": sparse(140_000),
        "bytes": generator.integers(0, 256, 4_200).astype(np.uint8),
        "words": np.arange(4_200, dtype=np.uint16) // 3,
    }
    home = dict.fromkeys(arrays, ("quantized", 0)) | dict.fromkeys(planes, ("lossless", 1))
    arrays |= planes
    rows = [
        (name, home[name][0], array.shape, array.dtype, home[name][1], digest(array))
        for name, array in arrays.items()
    ]
    sections = [
        ("quantized", quantized),
        ("lossless", _core.encode_lossless(list(planes.values()))),
    ]
    return Sample(_core.write_archive([], sections, rows), arrays)


def make_dtype_sample() -> Sample:
    """Return any bits of every dtype, raw and in lossless planes.

    Some planes have blocks of their own.
    """
    generator = np.random.default_rng(8)
    sections, rows, arrays = [], [], {}
    large = [_core.numpy_dtype(name) for name in ("complex32", "float4_e2m1fn_x2", "int4")]
    for codec, shape, dtypes in (
        *(("raw", (3, 2), DTYPES), ("lossless", (2, 5), DTYPES)),
        ("lossless", (4100, 1), large),
    ):
        own = {}
        for dtype in dtypes:
            array = any_bits(generator, dtype, shape)
            own[f"{codec}.{_core.dtype_name(dtype)}.{shape[0]}"] = array
        content = b"".join(
            array.astype(array.dtype.newbyteorder("<")).tobytes() for array in own.values()
        )
        if codec == "lossless":
            content = _core.encode_lossless(list(own.values()))
        rows += [(n, codec, a.shape, a.dtype, len(sections), digest(a)) for n, a in own.items()]
        sections.append((codec, content))
        arrays |= own
    return Sample(_core.write_archive([], sections, rows), arrays)


def make_split_sample() -> Sample:
    """Floats whose high bits are symbols: with levels, rows of fewer bits, and any bits at all."""
    generator = np.random.default_rng(9)
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name in ("float16", "bfloat16", "float32", "float64", "complex64"):
        dtype = _core.numpy_dtype(name)
        parts = 2 if dtype.kind == "c" else 1
        values = generator.normal(size=(48, 90 * parts)) * np.exp2(
            generator.uniform(-4, 4, (48, 1))
        )
        values *= np.exp2(generator.uniform(-2, 2, 90 * parts))
        if parts == 2:
            array = values.astype(np.float32).view(dtype)
        else:
            values[::5] = values[::5].astype(np.float16)
            array = values.astype(dtype)
        array[3, :4] = [0, -0.0, np.inf, np.nan]
        arrays[name] = array
    rows = [(n, "lossless", a.shape, a.dtype, 0, digest(a)) for n, a in arrays.items()]
    section = _core.encode_lossless(list(arrays.values()))
    return Sample(_core.write_archive([], [("lossless", section)], rows), arrays)


def make_string_sample() -> Sample:
    """Strings of more than 65,535 bytes; of two long names the second is stored as what it adds."""
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    name = "layer." * 11_000
    rows = [(name, "raw", array.shape, array.dtype, 0, digest(array)), (name + "ж", "alias", 0)]
    metadata = [("key" * 22_000, "short"), ("notes", "値" * 22_000)]
    content = array.astype("<i2").tobytes()
    data = _core.write_archive(metadata, [("raw", content)], rows)
    return Sample(data, {name: array, name + "ж": array})


def make_large_sample() -> Sample:
    """Tensors of several blocks: many small ones and some that lie in two blocks or three."""
    generator = np.random.default_rng(5)
    tensors = {
        "before": random_quantized(generator, (300,), np.float16),
        "tall": random_quantized(generator, (700, 100), ml_dtypes.bfloat16, "rR"),
        "wide": random_quantized(generator, (3, 30_000), np.float32, "cCr"),
        **{
            f"small.{i}": random_quantized(generator, (i, 7), np.float32, "rRcCb"[i % 6 :])
            for i in range(40)
        },
        "behind": random_quantized(generator, (140_000,), np.float32, "b"),
    }
    section, arrays = quantized_section(tensors)
    large = {
        "large": generator.standard_normal(150_000).astype(np.float32),
        "plain": np.arange(140_000),
    }
    home = dict.fromkeys(arrays, ("quantized", 0)) | dict.fromkeys(large, ("lossless", 1))
    arrays |= large
    rows = [
        (name, home[name][0], array.shape, array.dtype, home[name][1], digest(array))
        for name, array in arrays.items()
    ]
    sections = [("quantized", section), ("lossless", _core.encode_lossless(list(large.values())))]
    return Sample(_core.write_archive([], sections, rows), arrays)


def _encode(decoder: IntegerDecoder) -> bytes:
    layers = [layer.arrays() for layer in decoder.layers]
    return _core.encode_integer_decoder(layers, [[la.weight.size] for la in decoder.layers])


def _exact(generator: np.random.Generator, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if dtype.kind in "biu" or dtype.names:
        return any_bits(generator, dtype, (2, 5))
    if dtype.kind == "c":
        return (generator.standard_normal((2, 5)) + 1j).astype(dtype)
    return generator.standard_normal((2, 5)).astype(dtype)
