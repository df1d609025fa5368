"""Write the seeds of the archive corpora: a small file for each codec, and a pack with a member.

usage: python -m csrc.fuzz.make_corpus (in the root of a checkout with the package installed)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from python_tests.archives import quantized_section, random_quantized
from python_tests.fleets import make_difference_member, make_member, make_pack
from vaecomp_native import _core
from vaecomp_native.decoders import Float32Decoder, Float32Layer, IntegerDecoder, IntegerLayer
from vaecomp_native.kernels import digest

CORPUS = Path(__file__).parent / "corpus"
Arrays = dict[str, npt.NDArray[Any]]


def rows(codec: str, section: int, arrays: Arrays) -> list[tuple[Any, ...]]:
    """The tensor table of a section."""
    return [(n, codec, a.shape, a.dtype, section, digest(a)) for n, a in arrays.items()]


def raw() -> tuple[list[Any], list[Any]]:
    """Raw tensors, a bool and an empty one among them, and an alias."""
    arrays: Arrays = {
        "a": np.array([True, False, True]),
        "ab": np.arange(4, dtype=np.int16).reshape(2, 2),
        "b": np.zeros((0, 3), np.float32),
    }
    section = b"".join(array.tobytes() for array in arrays.values())
    return [("raw", section)], [*rows("raw", 0, arrays), ("tied", "alias", 1)]


def lossless() -> tuple[list[Any], list[Any]]:
    """Planes in the head, coded and stored, and one that has a block."""
    arrays: Arrays = {
        "few": np.arange(6, dtype=np.float16).reshape(3, 2),
        "many": np.ones((4100, 1), np.uint8),
        "pair": np.array([1 + 2j], np.complex64),
    }
    return [("lossless", _core.encode_lossless(list(arrays.values())))], rows("lossless", 0, arrays)


def quantized() -> tuple[list[Any], list[Any]]:
    """Matrices with every array and with a codebook."""
    generator = np.random.default_rng(1)
    section, arrays = quantized_section(
        {
            "w": random_quantized(generator, (4, 5), np.float32, "rRcC"),
            "v": random_quantized(generator, (6,), ml_dtypes.bfloat16, "b"),
        }
    )
    return [("quantized", section)], rows("quantized", 0, arrays)


def latents() -> tuple[list[Any], list[Any]]:
    """Make integer latents and float32 latents; one section of integers is another's base."""
    generator = np.random.default_rng(2)
    weight = generator.integers(-9, 10, (5, 2)).astype(np.int8)
    scale = np.full(5, 0.25, np.float32)
    integers = IntegerDecoder((IntegerLayer(weight, np.zeros(5, np.int32), scale=scale),))
    floats = Float32Decoder((Float32Layer(np.ones((3, 2), np.float32), np.zeros(3, np.float32)),))
    z = generator.integers(-9, 10, (4, 2)).astype(np.int8)
    y = np.array([[1, 2], [3, 4]], np.float32)
    values = integers.forward(z)
    added = {"sum": random_quantized(generator, (5,), np.float32)}
    section, sums = quantized_section(added, 2, values[:1])
    sections = [
        (
            "integer_decoder",
            _core.encode_integer_decoder([layer.arrays() for layer in integers.layers], [[10]]),
        ),
        ("latents", _core.encode_int8_latents(0, 5, 0, z[:1], [2])),
        ("latents", _core.encode_int8_latents(0, 5, 0, z[1:], [6])),
        ("quantized", section),
        (
            "float32_decoder",
            _core.encode_float32_decoder([(layer.weight, layer.bias) for layer in floats.layers]),
        ),
        ("latents", _core.encode_float32_latents(4, 3, 1, y)),
    ]
    tensors = [
        *rows("latent", 2, {"whole": values[1:]}),
        *rows("quantized", 3, sums),
        *rows("latent", 5, {"float": floats.forward(y).reshape(-1)[:5]}),
    ]
    return sections, tensors


if __name__ == "__main__":
    for folder in ("archive", "member"):
        (CORPUS / folder).mkdir(parents=True, exist_ok=True)
    for make in (raw, lossless, quantized, latents):
        sections, tensors = make()
        data = _core.write_archive([("key", "value")], sections, tensors)
        (CORPUS / "archive" / make.__name__).write_bytes(data)
    pack = make_pack()
    (CORPUS / "archive" / "pack").write_bytes(pack.data)
    for name, member in (
        ("pack_and_member", make_member(pack)),
        ("pack_and_differences", make_difference_member(pack)),
    ):
        (CORPUS / "member" / name).write_bytes(pack.data + member.data)
