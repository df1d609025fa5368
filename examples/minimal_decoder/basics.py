"""The reader of fields, the two checks and the float32 arithmetic."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from typing import NoReturn

DTYPES = {  # by number, with the bytes of an element
    "bool": 1,
    "uint8": 1,
    "int8": 1,
    "uint16": 2,
    "int16": 2,
    "uint32": 4,
    "int32": 4,
    "uint64": 8,
    "int64": 8,
    "float16": 2,
    "bfloat16": 2,
    "float32": 4,
    "float64": 8,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "complex64": 8,
    "complex128": 16,
    "float8_e4m3fnuz": 1,
    "float8_e5m2fnuz": 1,
    "float8_e8m0fnu": 1,
    "float4_e2m1fn_x2": 1,
    "complex32": 4,
    **{f"int{bits}": 1 for bits in range(1, 8)},
    **{f"uint{bits}": 1 for bits in range(1, 8)},
}


class FormatError(Exception):
    """The file is not a latent archive of version 1, or it is damaged."""

    def __init__(self, field: str, offset: int, problem: str) -> None:
        super().__init__(f"{field} at offset {offset}: {problem}")
        self.field, self.offset, self.problem = field, offset, problem


class Reader:
    """Reads the fields of `data[start:end]` one behind another, and never beyond the end."""

    def __init__(self, data: bytes, start: int, end: int, place: str, file_size: int) -> None:
        self.data, self.position, self.end, self.place = data, start, end, place
        self.file_size = file_size
        self.last = start  # where the field begins that was read last, for messages

    def fail(self, field: str, problem: str) -> NoReturn:
        raise FormatError(self.place + field, self.last, problem)

    def require(self, condition: bool, field: str, problem: str) -> None:
        if not condition:
            self.fail(field, problem)

    def require_modest(self, size: int, field: str) -> None:
        """Refuse a size, in bytes or symbols, that is out of all proportion to the file's."""
        self.require(size <= 2**17 * self.file_size, field, f"{size} is too much for this file")

    def take(self, size: int, field: str) -> bytes:
        self.last = self.position
        self.require(size <= self.end - self.position, field, f"{size} bytes are not there")
        self.position += size
        return self.data[self.last : self.position]

    def part(self, size: int, field: str) -> Reader:
        """Hand the next bytes to a reader of their own."""
        self.take(size, field)
        return Reader(self.data, self.last, self.position, self.place, self.file_size)

    def finish(self) -> None:
        self.last = self.position
        self.require(self.position == self.end, "end", f"{self.end - self.position} bytes too many")

    def numbers(self, code: str, count: int, field: str) -> tuple[int, ...]:
        """Read integers, their type in the letters of `struct`."""
        return struct.unpack(
            f"<{count}{code}", self.take(struct.calcsize(f"<{code}") * count, field)
        )

    def number(self, code: str, field: str) -> int:
        return self.numbers(code, 1, field)[0]

    def varint(self, field: str, least: int = 0, most: int = 2**64 - 1) -> int:
        start, value, size, byte = self.position, 0, 0, 128
        while byte >= 128 and size < 10:
            byte = self.take(1, field)[0]
            value |= (byte & 127) << 7 * size
            size += 1
        self.last = start
        self.require(byte < 128, field, "a varint of more than 10 bytes")
        self.require(byte > 0 or size == 1, field, "a varint that is not in its shortest form")
        self.require(least <= value <= most, field, f"{value} is not {least} to {most}")
        return value

    def zigzag(self, field: str) -> int:
        value = self.varint(field)
        return -(value >> 1) - 1 if value & 1 else value >> 1

    def text(self, data: bytes, field: str) -> str:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            self.fail(field, "not UTF-8")

    def string(self, field: str) -> str:
        return self.text(self.take(self.varint(field), field), field)

    def finite(self, bits: Iterable[int], field: str) -> list[float]:
        """The float32 numbers of these bits."""
        values = list(map(bits_to_float, bits))
        self.require(all(map(math.isfinite, values)), field, "not finite")
        return values

    def floats(self, count: int, field: str) -> list[float]:
        return self.finite(self.numbers("I", count, field), field)

    def bfloat16s(self, count: int, field: str) -> list[float]:
        """A bfloat16 is the upper half of a float32."""
        return self.finite((upper << 16 for upper in self.numbers("H", count, field)), field)


# Float32 arithmetic. Python's floats are float64: the product of two float32 is exact, and a sum of two that is rounded to
# float64 and then to float32 equals the one that is rounded once, because 53 bits are at least 2 * 24 + 2.


def bits_to_float(bits: int) -> float:
    value: float = struct.unpack("<f", struct.pack("<I", bits))[0]
    return value


def float32(value: float) -> float:
    """Round to the nearest float32, ties to even."""
    try:
        rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
        return rounded
    except OverflowError:
        return math.copysign(math.inf, value)


def fma(a: float, b: float, c: float) -> float:
    """The float32 nearest to `a * b + c`.

    The product is exact in float64; the sum is not, and to round it twice may give another number. It is therefore rounded
    to odd first: an inexact sum whose last bit is 0 moves by one place, to the other side of the exact one. That keeps it
    off the midpoints between float32 numbers, and on its side of them.
    """
    product = a * b
    total = product + c
    if math.isfinite(total):
        part = total - product
        error = (product - (total - part)) + (c - part)  # that of `total`, exactly (Knuth's TwoSum)
        if error != 0 and struct.pack("<d", total)[0] % 2 == 0:
            total = math.nextafter(total, math.copysign(math.inf, error))
    return float32(total)


def one_nan(value: float) -> float:
    """Make every NaN the one that `struct` packs as 0x7fc00000."""
    return math.nan if math.isnan(value) else value


# Exponent bits, mantissa bits, the bits of what overflows, and those of NaN.
NARROW_FLOATS = {
    "float16": (5, 10, 0x7C00, 0x7E00),
    "bfloat16": (8, 7, 0x7F80, 0x7FC0),
    "float8_e4m3fn": (4, 3, 0x7F, 0x7F),
    "float8_e5m2": (5, 2, 0x7C, 0x7E),
}


def narrow(value: float, exponent_bits: int, mantissa_bits: int, overflow: int, nan: int) -> int:
    """The bits of the nearest number of a narrow format, ties to even."""
    sign = int(math.copysign(1, value) < 0) << exponent_bits + mantissa_bits
    if math.isnan(value):
        return sign | nan
    if math.isinf(value):
        return sign | overflow
    least = 2 - (1 << exponent_bits - 1)  # exponent of the least normal number, and of smaller ones
    exponent = max(math.frexp(value)[1] - 1, least) if value else least
    mantissa = round(math.ldexp(abs(value), mantissa_bits - exponent))
    # The leading bit of a normal number's mantissa adds the missing 1 to the field of the exponent, as does a carry.
    return sign | min((exponent - least << mantissa_bits) + mantissa, overflow)


def floats_to_bytes(values: Sequence[float], dtype: str) -> bytes:
    """Convert float32 numbers to a float dtype (kernels.md, 1)."""
    count = len(values)
    if dtype in ("float32", "float64"):
        return struct.pack(f"<{count}{'f' if dtype == 'float32' else 'd'}", *values)
    form = NARROW_FLOATS[dtype]
    code = "H" if form[0] + form[1] == 15 else "B"
    return struct.pack(f"<{count}{code}", *(narrow(value, *form) for value in values))


def widen_e4m3fn(bits: int) -> float:
    exponent, mantissa = bits >> 3 & 15, bits & 7
    value = math.ldexp(mantissa + (8 if exponent else 0), max(exponent, 1) - 10)
    return math.copysign(math.nan if bits & 127 == 127 else value, -1 if bits & 128 else 1)


def bytes_to_floats(data: bytes, dtype: str) -> list[float]:
    """Convert the elements of a float dtype to float32 numbers (kernels.md, 1)."""
    if dtype == "float8_e4m3fn":
        return list(map(widen_e4m3fn, data))
    if dtype in ("bfloat16", "float8_e5m2"):  # the upper half of a float32, or of a float16
        size = DTYPES[dtype]
        data = b"".join(bytes(size) + data[i : i + size] for i in range(0, len(data), size))
        dtype = "float32" if dtype == "bfloat16" else "float16"
    code = {"float16": "e", "float32": "f", "float64": "d"}[dtype]
    return [float32(value) for (value,) in struct.iter_unpack(f"<{code}", data)]


# Checks (kernels.md, 6).


def crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


CRC_TABLE = [crc_of_byte(byte) for byte in range(256)]


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


MASK = 2**64 - 1
PRIME1, PRIME2, PRIME3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
PRIME4, PRIME5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def rotate(value: int, bits: int) -> int:
    return (value << bits | value >> 64 - bits) & MASK


def xxh64_round(state: int, word: int) -> int:
    return rotate((state + word * PRIME2) & MASK, 31) * PRIME1 & MASK


def xxh64(data: bytes) -> int:
    """XXH64 with seed 0."""
    words = struct.unpack_from(f"<{len(data) // 8}Q", data)
    in_stripes = len(data) // 32 * 4
    value = PRIME5
    if in_stripes:
        states = [(PRIME1 + PRIME2) & MASK, PRIME2, 0, -PRIME1 & MASK]
        for i, word in enumerate(words[:in_stripes]):
            states[i % 4] = xxh64_round(states[i % 4], word)
        value = sum(map(rotate, states, (1, 7, 12, 18))) & MASK
        for state in states:
            value = ((value ^ xxh64_round(0, state)) * PRIME1 + PRIME4) & MASK
    value = (value + len(data)) & MASK
    for word in words[in_stripes:]:
        value = (rotate(value ^ xxh64_round(0, word), 27) * PRIME1 + PRIME4) & MASK
    tail = data[8 * len(words) :]
    if len(tail) >= 4:
        word = int.from_bytes(tail[:4], "little")
        value = (rotate(value ^ word * PRIME1 & MASK, 23) * PRIME2 + PRIME3) & MASK
        tail = tail[4:]
    for byte in tail:
        value = rotate(value ^ byte * PRIME5 & MASK, 11) * PRIME1 & MASK
    value = (value ^ value >> 33) * PRIME2 & MASK
    value = (value ^ value >> 29) * PRIME3 & MASK
    return value ^ value >> 32


def tensor_digest(data: bytes) -> int:
    leaves = (xxh64(data[start : start + 65_536]) for start in range(0, len(data), 65_536))
    return xxh64(b"".join(leaf.to_bytes(8, "little") for leaf in leaves))
