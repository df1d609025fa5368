"""Tensors that stay in their files until they are asked for, because together they need not fit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vaecomp_native.io.file_state import FileState, check_unchanged

Array = npt.NDArray[Any]


class Form(Protocol):
    """The measures of an array, or of one that is not read yet."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the dimensions."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The elements' dtype."""

    @property
    def size(self) -> int:
        """The number of elements."""

    @property
    def nbytes(self) -> int:
        """The number of bytes."""


@dataclass(frozen=True)
class Layout:
    """A shape and a dtype."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """The number of bytes."""
        return self.size * self.dtype.itemsize


@dataclass(frozen=True)
class Place(Layout):
    """Where a tensor lies: little-endian elements in C order, from `offset` of a file on."""

    file: Path
    offset: int


class StoredTensors(Mapping[str, Array]):
    """Arrays by name, each read from its file whenever it is asked for.

    They are read rather than mapped: whoever cuts a mapped file short kills the process, and all
    that is mapped counts where memory is limited. A file that is not what it was when this was made
    raises WeightsError.
    """

    def __init__(self, places: Mapping[str, Place]) -> None:
        """Take the tensors' places. Raises OSError."""
        self.places = places
        self._states = {file: FileState.of(file) for file in {one.file for one in places.values()}}

    def __getitem__(self, name: str) -> Array:
        place = self.places[name]
        array: Array = np.empty(place.shape, place.dtype)
        check_unchanged(place.file, self._states[place.file])
        if array.nbytes:
            with place.file.open("rb") as file:
                file.seek(place.offset)
                file.readinto(array.reshape(-1).view(np.uint8).data)
            check_unchanged(place.file, self._states[place.file])
        return array.astype(place.dtype.newbyteorder("="), copy=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)
