"""Lossless sections: byte planes, or high and low bits (docs/format.md, Lossless)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecomp_native.reference.cursor import Cursor
from vaecomp_native.reference.dtypes import ROTATED, dtype_name
from vaecomp_native.reference.rans import block_parts, read_stream, take_block
from vaecomp_native.reference.split import read_split

STORED, CODED, SPLIT = 0, 1, 2
# The largest number of items of a plane that stands in the section's head.
SMALL = 4_096


def read_plane(head: Cursor, payload: Cursor, count: int, form: int) -> npt.NDArray[Any]:
    """Read a plane of this form, which is one byte of each of ``count`` items."""
    small = count <= SMALL
    if small:
        payload = head
    if form == STORED and small:
        return np.frombuffer(head.take(count, "plane"), np.uint8)
    if form == STORED:
        parts = block_parts(count)
        crcs = [head.unpack("I", "block CRC-32C") for _ in parts]
        blocks = [
            take_block(payload, part.stop - part.start, crc)
            for part, crc in zip(parts, crcs, strict=True)
        ]
        return np.frombuffer(b"".join(blocks), np.uint8)
    if form != CODED:
        head.fail("plane's form", f"{form} is unknown")
    return read_stream(head, 0, 255, count, payload).astype(np.uint8)


def read_tensor(
    head: Cursor, payload: Cursor, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """Read one tensor that is not empty."""
    name = dtype_name(dtype)
    # A complex number is two items.
    items = math.prod(shape) * (2 if name.startswith("complex") else 1)
    size = dtype.itemsize * math.prod(shape) // items
    form = head.unpack("B", "plane's form")
    if form == SPLIT and name in ROTATED:
        rows = shape[0] if len(shape) > 1 else 1
        turned = read_split(head, payload, rows, items // rows, 8 * size)
        words = turned.astype(f"=u{size}")
    else:
        planes = [read_plane(head, payload, items, form)]
        for _ in range(1, size):
            planes.append(read_plane(head, payload, items, head.unpack("B", "plane's form")))
        words = np.stack(planes, axis=1).reshape(-1).view(f"<u{size}").astype(f"=u{size}")
    if name in ROTATED:
        one, rest = words.dtype.type(1), words.dtype.type(8 * size - 1)
        words = words >> one | words << rest
    if dtype == np.bool_ and (words > 1).any():
        head.fail("plane", "a bool is neither 0 nor 1")
    return words.view(dtype).reshape(shape)


def read_lossless(
    cursor: Cursor, specs: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]
) -> list[npt.NDArray[Any]]:
    """Read a section of kind 7: an array for each (shape, dtype)."""
    head = cursor.head()
    arrays = [
        read_tensor(head, cursor, shape, dtype) if math.prod(shape) else np.empty(shape, dtype)
        for shape, dtype in specs
    ]
    head.finish("lossless section's head")
    cursor.finish("lossless section")
    return arrays
