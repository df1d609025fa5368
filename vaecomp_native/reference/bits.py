"""Bits behind the symbols of a block (docs/format.md, Differences and Lossless)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vaecomp_native.reference.cursor import Cursor
from vaecomp_native.reference.rans import Contexts, Symbols, Tables, decode_block

IntArray = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


class BitReader:
    """A reader of numbers of a few bits each, the lowest bits first."""

    def __init__(self, block: Cursor) -> None:
        """Take all that is left of a block."""
        self._block = block
        data = np.frombuffer(block.take(block.left, "bits"), np.uint8)
        self._bits = np.unpackbits(data, bitorder="little").astype(np.uint64)

    def take(self, widths: IntArray) -> Words:
        """Read the next numbers, uint64 [N], of so many bits each."""
        starts = np.cumsum(widths) - widths
        total = int(widths.sum())
        if total > len(self._bits):
            self._block.fail("bits", "the block ends before its last symbol's")
        numbers = np.zeros(len(widths), np.uint64)
        for bit in range(int(widths.max(initial=0))):
            wide = widths > bit
            numbers[wide] |= self._bits[starts[wide] + bit] << np.uint64(bit)
        self._bits = self._bits[total:]
        return numbers

    def finish(self) -> None:
        """Raise ArchiveError if more is left over than zeros in the last byte."""
        if len(self._bits) >= 8 or self._bits.any():
            self._block.fail("bits", f"{len(self._bits)} are left over")


def read_symbols(
    block: Cursor, contexts: Contexts, tables: Tables, lanes: int
) -> tuple[Symbols, BitReader]:
    """Read a block's symbols, and prepare to read the bits behind them."""
    size = block.unpack("I", "symbols' size")
    block.take(size, "symbols")
    return decode_block(block.last_taken(), contexts, tables, lanes), BitReader(block)
