"""A small pack and members of it, made without training, for tests."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from python_tests.archives import integer_decoder, quantized_section, random_quantized
from vaecomp_native import _core
from vaecomp_native.decoders import IntegerDecoder, IntegerLayer
from vaecomp_native.kernels import digest

Arrays = dict[str, npt.NDArray[Any]]
COMMON, LOCAL, POSITIONS = 3, 2, 1
CHUNK = 40


@dataclass(frozen=True)
class Pack:
    """A pack, what it decodes to, and what says how its members are made."""

    data: bytes
    arrays: Arrays
    decoders: tuple[IntegerDecoder, IntegerDecoder]
    position: npt.NDArray[np.int8]

    @cached_property
    def reader(self) -> _core.ArchiveReader:
        """The pack, open."""
        return _core.ArchiveReader(self.data)

    def values(self, latents: npt.NDArray[np.int8]) -> Arrays:
        """Base and what the decoders add to the matrices, before rounding to their dtypes."""
        chunks = len(self.position)
        inputs = np.concatenate(
            [np.tile(latents[: COMMON + LOCAL], (chunks, 1)), self.position], axis=1
        )
        added = {
            "weight": self.decoders[0].forward(inputs).reshape(-1),
            "half": self.decoders[1].forward(latents[None, :COMMON]).reshape(-1),
        }
        result = {}
        for name, values in added.items():
            base = self.arrays[name].astype(np.float32)
            result[name] = base + values[: base.size].reshape(base.shape)
        return result


def make_pack(seed: int = 0) -> Pack:
    """A pack of matrices, a bias that no decoder changes, integers and an alias.

    The float32 matrix has several chunks, the bfloat16 one a linear decoder.
    """
    generator = np.random.default_rng(seed)
    normal = generator.standard_normal
    arrays: Arrays = {
        "weight": normal((30, 7), np.float32),
        "half": normal((5, 9), np.float32).astype(ml_dtypes.bfloat16),
        "bias": normal(6, np.float32),
        "steps": np.arange(4, dtype=np.int64),
    }
    deep = integer_decoder(generator)
    weight = generator.integers(-9, 10, (45, COMMON)).astype(np.int8)
    linear = IntegerDecoder(
        (IntegerLayer(weight, np.zeros(45, np.int32), scale=np.full(45, 2.0**-7, np.float32)),)
    )
    chunks = -(-arrays["weight"].size // CHUNK)
    position = generator.integers(-9, 10, (chunks, POSITIONS)).astype(np.int8)
    fleet = _core.encode_fleet(
        [(COMMON, -20, [1] * 41), (LOCAL, -128, [1] * 256)],
        [
            (1, CHUNK, [(0, COMMON), (COMMON, LOCAL)], [0], position),
            (2, 45, [(0, COMMON)], [1], np.zeros((1, 0), np.int8)),
        ],
    )
    sections = [
        ("lossless", _core.encode_lossless(list(arrays.values()))),
        *(
            (
                "integer_decoder",
                _core.encode_integer_decoder(
                    [layer.arrays() for layer in decoder.layers],
                    [[layer.weight.size] for layer in decoder.layers],
                ),
            )
            for decoder in (deep, linear)
        ),
        ("fleet", fleet),
    ]
    tensors = [(n, "lossless", a.shape, a.dtype, 0, digest(a)) for n, a in arrays.items()]
    data = _core.write_archive([("key", "pack")], sections, [*tensors, ("tied", "alias", 0)])
    return Pack(data, arrays | {"tied": arrays["weight"]}, (deep, linear), position)


@dataclass(frozen=True)
class Member:
    """A member's file and what it decodes to."""

    data: bytes
    arrays: Arrays


def make_member(pack: Pack, seed: int = 1) -> Member:
    """Latents for the matrices, a residual on the bfloat16 one, and integers of its own."""
    generator = np.random.default_rng(seed)
    latents = generator.integers(-20, 21, COMMON + LOCAL).astype(np.int8)
    values = pack.values(latents)
    quantized, sums = quantized_section(
        {"half": random_quantized(generator, (5, 9), ml_dtypes.bfloat16, "r")}, 1, values["half"]
    )
    steps = np.arange(4, dtype=np.int64) + seed
    arrays: Arrays = {
        "weight": values["weight"],
        "half": sums["half"],
        "bias": pack.arrays["bias"],
        "steps": steps,
        "tied": values["weight"],
    }
    data = pack.reader.write_member(
        [],
        [
            ("member", pack.reader.encode_member(latents)),
            ("quantized", quantized),
            ("raw", steps.astype("<i8").tobytes()),
        ],
        [
            ("member", 0, digest(arrays["weight"])),
            ("quantized", 1, digest(arrays["half"])),
            None,
            ("raw", 2, digest(steps)),
            None,
        ],
    )
    return Member(data, arrays)


def moved(array: npt.NDArray[Any], generator: np.random.Generator) -> npt.NDArray[Any]:
    """Floats some of which have other low bits, and a few any bits at all."""
    words = array.copy().view(f"u{array.dtype.itemsize}")
    low = generator.integers(0, 1 << generator.integers(1, 8, words.shape)).astype(words.dtype)
    words ^= np.where(generator.random(words.shape) < 0.7, low, 0).astype(words.dtype)
    anything = generator.integers(0, np.iinfo(words.dtype).max, words.shape, words.dtype, True)
    return np.where(generator.random(words.shape) < 0.05, anything, words).view(array.dtype)


def make_difference_member(pack: Pack, seed: int = 1) -> Member:
    """Matrices as differences from what latents make, the bias as one from the pack's.

    The matrices' differences have levels, of which the bfloat16 one has those of columns alone.
    """
    generator = np.random.default_rng(seed)
    latents = generator.integers(-20, 21, COMMON + LOCAL).astype(np.int8)
    predicted = {
        name: array.astype(pack.arrays[name].dtype) for name, array in pack.values(latents).items()
    }
    arrays: Arrays = {name: moved(array, generator) for name, array in predicted.items()}
    arrays["bias"] = moved(pack.arrays["bias"], generator)
    rows = generator.integers(0, 9, 30).astype(np.uint8)
    columns = generator.integers(0, 9, 7).astype(np.uint8)
    made = [
        (arrays["weight"], predicted["weight"], 255, rows, columns),
        (arrays["half"], predicted["half"], 255, None, columns.repeat(2)[:9]),
    ]
    sections = [
        ("member", pack.reader.encode_member(latents)),
        ("differences", _core.encode_differences(1, 1, made, 9)),
        (
            "differences",
            _core.encode_differences(0, 0, [(arrays["bias"], pack.arrays["bias"], 0, None, None)]),
        ),
    ]
    homes = {"weight": 1, "half": 1, "bias": 2}
    rows_ = [("differences", section, digest(arrays[name])) for name, section in homes.items()]
    data = pack.reader.write_member([], sections, [*rows_, None, None])
    own = {name: arrays.get(name, pack.arrays[name]) for name in pack.arrays}
    return Member(data, own | {"tied": arrays["weight"]})
