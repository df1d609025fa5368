"""CRC-32C and the tensor digest: known vectors, and the native code against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaecomp_native import _core, kernels, reference
from vaecomp_native.reference.checks import little_endian_bytes

from .samples import DTYPES, generators, with_layout

CRC_VECTORS = [
    (b"", 0x00000000),
    (b"123456789", 0xE3069283),
    (bytes(32), 0x8A9136AA),  # RFC 3720, B.4
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
]
XXH64_VECTORS = [
    (b"", 0xEF46DB3751D8E999),
    (b"a", 0xD24EC4F1A98C6E5B),
    (b"abc", 0x44BC2CF5AD770999),
    (b"The quick brown fox jumps over the lazy dog", 0x0B242D361FDA71BC),
    (b"Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
]
LENGTHS = st.one_of(
    st.integers(0, 300), st.sampled_from([1023, 1024, 1025, 4095, 4096, 8191, 24_576, 100_003])
)


@pytest.mark.parametrize(("message", "crc"), CRC_VECTORS)
def test_crc32c_of_known_vectors(isa: str, message: bytes, crc: int) -> None:
    assert kernels.crc32c(message) == reference.crc32c(message) == crc


@given(rng=generators, length=LENGTHS, start=st.integers(0, 16))
def test_crc32c_equals_reference(
    isa: str, rng: np.random.Generator, length: int, start: int
) -> None:
    data = memoryview(rng.bytes(start + length))[start:]
    assert kernels.crc32c(data) == reference.crc32c(data)


def test_crc32c_takes_any_bytes(isa: str) -> None:
    message = b"123456789"
    assert kernels.crc32c(bytearray(message)) == 0xE3069283
    assert kernels.crc32c(memoryview(bytearray(message))) == 0xE3069283


def test_crc32c_of_a_bytewise_definition() -> None:
    data = np.random.default_rng(0).bytes(3000)
    for length in (1, 2, 3, 4, 5, 1024, 1025, 3000):
        state = 0xFFFFFFFF
        for byte in data[:length]:
            state ^= byte
            for _ in range(8):
                state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
        assert reference.crc32c(data[:length]) == state ^ 0xFFFFFFFF


@pytest.mark.parametrize(("message", "value"), XXH64_VECTORS)
def test_xxh64_of_known_vectors(message: bytes, value: int) -> None:
    assert reference.xxh64(message) == value


@pytest.mark.parametrize(("message", "value"), XXH64_VECTORS)
def test_digest_is_the_hash_of_the_leaves_hashes(isa: str, message: bytes, value: int) -> None:
    array = np.frombuffer(message, np.uint8)
    leaves = value.to_bytes(8, "little") if message else b""
    assert kernels.digest(array) == reference.digest(array) == reference.xxh64(leaves)


@pytest.mark.parametrize("size", [0, 1, 31, 32, 65_535, 65_536, 65_537, 131_072, 327_713])
def test_digest_at_leaf_borders(isa: str, size: int) -> None:
    array = np.frombuffer(np.random.default_rng(size).bytes(size), np.uint8)
    assert kernels.digest(array) == reference.digest(array)


@pytest.mark.parametrize("dtype", DTYPES, ids=_core.dtype_name)
def test_digest_of_every_dtype(isa: str, dtype: np.dtype[Any]) -> None:
    array = np.random.default_rng(4).integers(0, 2, (5, 1, 7, 3)).astype(dtype)
    little_endian = np.frombuffer(little_endian_bytes(array), np.uint8)
    assert kernels.digest(array) == reference.digest(array) == kernels.digest(little_endian)


@pytest.mark.parametrize("layout", ["fortran", "sliced", "byte-swapped"])
@pytest.mark.parametrize("dtype", ["int64", "float32", "complex64"])
def test_the_reference_takes_other_layouts_too(dtype: npt.DTypeLike, layout: str) -> None:
    array = np.arange(105).reshape(5, 1, 7, 3).astype(dtype)
    other = with_layout(array, layout)
    assert reference.digest(other) == reference.digest(array)
    with pytest.raises(ValueError, match="C-contiguous"):
        kernels.digest(other)
