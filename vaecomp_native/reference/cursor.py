"""Reading the archive's primitive fields, with errors that name the field and its offset."""

from __future__ import annotations

import struct
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from vaecomp_native.errors import ArchiveError


class Cursor:
    """A position in a range of an archive's bytes.

    Every read names its field. Offsets in error messages count from the start of ``data``.
    """

    def __init__(self, data: bytes, start: int = 0, end: int | None = None) -> None:
        self.data = data
        self.position = start
        self.end = len(data) if end is None else end
        self.field_offset = start

    @property
    def left(self) -> int:
        """The number of bytes that are not read yet."""
        return self.end - self.position

    def fail(self, field: str, problem: str) -> NoReturn:
        """Raise ArchiveError about the field that was read last or is about to be read."""
        raise ArchiveError(f"{field} at offset {self.field_offset}: {problem}")

    def take(self, size: int, field: str) -> bytes:
        """Read the next ``size`` bytes."""
        self.field_offset = self.position
        if size > self.left:
            self.fail(field, f"{size} bytes are needed and {self.left} are left")
        self.position += size
        return self.data[self.position - size : self.position]

    def last_taken(self) -> Cursor:
        """Make a cursor over the bytes that were taken last."""
        return Cursor(self.data, self.field_offset, self.position)

    def head(self) -> Cursor:
        """Read the head of a section that keeps its blocks apart; return a cursor over it."""
        self.take(self.varint("head's size"), "head")
        return self.last_taken()

    def unpack(self, layout: str, field: str) -> int:
        """Read a little-endian integer of fixed size; ``layout`` is a letter of ``struct``."""
        return int(struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout), field))[0])

    def array(self, dtype: str, count: int, field: str) -> npt.NDArray[Any]:
        """Read ``count`` little-endian finite numbers of a dtype such as "f4" as a native array."""
        raw = np.frombuffer(self.take(count * np.dtype(dtype).itemsize, field), "<" + dtype)
        if not np.isfinite(raw).all():
            self.fail(field, "a value is not finite")
        return raw.astype(dtype)

    def varint(self, field: str, low: int = 0, high: int = (1 << 64) - 1) -> int:
        """Read an unsigned LEB128 number in [low, high], in its shortest form and below 2^64."""
        start = self.position
        value = 0
        for index in range(10):
            byte = self.take(1, field)[0]
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                break
        self.field_offset = start
        if byte >= 0x80 or value >= 1 << 64:
            self.fail(field, "the varint is longer than 64 bits")
        if byte == 0 and index > 0:
            self.fail(field, "the varint is not in its shortest form")
        if not low <= value <= high:
            self.fail(field, f"{value} is not in the range {low} to {high}")
        return value

    def zigzag(self, field: str, low: int, high: int) -> int:
        """Read a signed number in [low, high], folded into a varint."""
        v = self.varint(field)
        value = -(v >> 1) - 1 if v & 1 else v >> 1
        if not low <= value <= high:
            self.fail(field, f"{value} is not in the range {low} to {high}")
        return value

    def string(self, field: str) -> str:
        """Read a UTF-8 string behind its length."""
        raw = self.take(self.varint(f"{field} length"), field)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self.fail(field, "the bytes are not valid UTF-8")

    def front_coded(self, field: str, previous: bytes, max_bytes: int) -> bytes:
        """Read a string of at most ``max_bytes`` UTF-8 bytes.

        It is stored as the number of first bytes that it shares with the previous string, and the
        rest.
        """
        shared = self.varint(f"{field} shared length", high=len(previous))
        rest = self.take(self.varint(f"{field} length"), field)
        if shared + len(rest) > max_bytes:
            self.fail(field, "the names have together more than 2^26 bytes")
        text = previous[:shared] + rest
        try:
            text.decode("utf-8")
        except UnicodeDecodeError:
            self.fail(field, "the bytes are not valid UTF-8")
        return text

    def finish(self, field: str) -> None:
        """Raise ArchiveError if bytes are left over."""
        self.field_offset = self.position
        if self.left:
            self.fail(field, f"{self.left} bytes are left over at its end")
