"""CRC-32C and the tensor digest (docs/kernels.md, section 6)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.reference.chunk import raw_bits
from vaecomp_native.reference.dtypes import halves

Words = npt.NDArray[np.uint64]

_LEAF_BYTES = 65_536
_LANE_BYTES = 1_024


def _advance_table() -> npt.NDArray[np.uint32]:
    """Compute what each value of a state's low byte adds when the state moves on by one byte."""
    state = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        state = state >> np.uint32(1) ^ np.where(
            state & np.uint32(1), np.uint32(0x82F63B78), np.uint32(0)
        )
    return state


_TABLE = _advance_table()
_SHORT = 2_048
_SHORT_TABLE: list[int] = _TABLE.tolist()


def _advance(states: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Move states on by one zero byte. A data byte is XORed into the low byte beforehand."""
    moved: npt.NDArray[np.uint32] = _TABLE[states & np.uint32(0xFF)] ^ states >> np.uint32(8)
    return moved


def _apply(
    columns: npt.NDArray[np.uint32], states: npt.NDArray[np.uint32]
) -> npt.NDArray[np.uint32]:
    """Apply a linear map over GF(2), given by its 32 columns, to each state."""
    result = np.zeros_like(states)
    for bit, column in enumerate(columns):
        result ^= (states >> np.uint32(bit) & np.uint32(1)) * column
    return result


def crc32c(data: bytes | bytearray | memoryview) -> int:
    """Compute the CRC-32C of the bytes, 32 bits.

    A short message is worked on byte by byte. A long one makes use of the CRC's linearity: rows of
    1,024 bytes are worked on side by side from state 0. They are then joined pairwise, by moving
    the left state on over the bytes of the right one. Zeros in front of the data do not change a
    state of 0. The initial value has the same effect as inverting the first four bytes.
    """
    message = np.frombuffer(data, np.uint8)
    if message.size < _SHORT:
        state = 0xFFFFFFFF
        for byte in message.tolist():
            state = _SHORT_TABLE[(state ^ byte) & 0xFF] ^ state >> 8
        return state ^ 0xFFFFFFFF
    rows = 1 << max(0, -(-message.size // _LANE_BYTES) - 1).bit_length()
    padded = np.zeros(rows * _LANE_BYTES, np.uint8)
    start = padded.size - message.size
    padded[start:] = message
    padded[start : start + 4] ^= np.uint8(0xFF)
    states = np.zeros(rows, np.uint32)
    for column in np.ascontiguousarray(padded.reshape(rows, _LANE_BYTES).T):
        states = _advance(states ^ column)
    move = _advance(np.uint32(1) << np.arange(32, dtype=np.uint32))
    for _ in range(_LANE_BYTES.bit_length() - 1):
        move = _apply(move, move)
    while states.size > 1:
        states = _apply(move, states[0::2]) ^ states[1::2]
        move = _apply(move, move)
    return int(states[0]) ^ 0xFFFFFFFF


_P1 = np.uint64(0x9E3779B185EBCA87)
_P2 = np.uint64(0xC2B2AE3D27D4EB4F)
_P3 = np.uint64(0x165667B19E3779F9)
_P4 = np.uint64(0x85EBCA77C2B2AE63)
_P5 = np.uint64(0x27D4EB2F165667C5)


def _rotate(x: Words, bits: int) -> Words:
    rotated: Words = x << np.uint64(bits) | x >> np.uint64(64 - bits)
    return rotated


def _round(acc: Words, lane: Words) -> Words:
    mixed: Words = _rotate(acc + lane * _P2, 31) * _P1
    return mixed


def _rows_xxh64(rows: npt.NDArray[np.uint8]) -> Words:
    """Compute XXH64 with seed 0 of every row: uint8 [n, length] to uint64 [n], modulo 2^64."""
    n, length = rows.shape
    stripes = length // 32
    if stripes:
        start = np.array([0x60EA27EEADC0B5D6, 0xC2B2AE3D27D4EB4F, 0, 0x61C8864E7A143579], np.uint64)
        acc = np.tile(start, (n, 1))
        words = np.ascontiguousarray(rows[:, : stripes * 32]).view("<u8").reshape(n, stripes, 4)
        for stripe in range(stripes):
            acc = _round(acc, words[:, stripe])
        h = (
            _rotate(acc[:, 0], 1)
            + _rotate(acc[:, 1], 7)
            + _rotate(acc[:, 2], 12)
            + _rotate(acc[:, 3], 18)
        )
        for k in range(4):
            h = (h ^ _round(np.zeros_like(h), acc[:, k])) * _P1 + _P4
    else:
        h = np.full(n, _P5)
    h = h + np.uint64(length)
    position = stripes * 32
    while position + 8 <= length:
        lane = np.ascontiguousarray(rows[:, position : position + 8]).view("<u8")[:, 0]
        h = _rotate(h ^ _round(np.zeros_like(h), lane), 27) * _P1 + _P4
        position += 8
    if position + 4 <= length:
        word = (
            np.ascontiguousarray(rows[:, position : position + 4])
            .view("<u4")[:, 0]
            .astype(np.uint64)
        )
        h = _rotate(h ^ word * _P1, 23) * _P2 + _P3
        position += 4
    for last in range(position, length):
        h = _rotate(h ^ rows[:, last].astype(np.uint64) * _P5, 11) * _P1
    h = (h ^ h >> np.uint64(33)) * _P2
    h = (h ^ h >> np.uint64(29)) * _P3
    hashes: Words = h ^ h >> np.uint64(32)
    return hashes


def xxh64(data: bytes | bytearray | memoryview) -> int:
    """Compute XXH64 with seed 0, 64 bits (Collet, https://github.com/Cyan4973/xxHash)."""
    return int(_rows_xxh64(np.frombuffer(data, np.uint8)[None])[0])


def little_endian_bytes(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return the elements' bytes, little-endian and in C order: uint8 [array.nbytes]."""
    parts = halves(array)
    bits = raw_bits(array if parts is None else parts)
    return bits.astype(bits.dtype.newbyteorder("<")).view(np.uint8)


def digest(array: npt.NDArray[Any]) -> int:
    """Compute the tensor digest, 64 bits, of an array of any dtype, strides and byte order."""
    message = little_endian_bytes(array)
    full = message.size // _LEAF_BYTES * _LEAF_BYTES
    leaves = [np.empty(0, np.uint64)]
    if full > 0:
        leaves.append(_rows_xxh64(message[:full].reshape(-1, _LEAF_BYTES)))
    if full < message.size:
        leaves.append(_rows_xxh64(message[None, full:]))
    return xxh64(np.concatenate(leaves).astype("<u8").tobytes())
