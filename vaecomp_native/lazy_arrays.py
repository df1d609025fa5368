"""What open archives have in common, in one file or in several."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from types import TracebackType
from typing import Any, TypeVar

import numpy.typing as npt

Array = npt.NDArray[Any]
Own = TypeVar("Own", bound="LazyArrays")


class LazyArrays(Mapping[str, Array]):
    """A mapping from names to arrays that are decoded when asked for, until it is closed."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what is read."""

    @abstractmethod
    def in_batches(self) -> Iterator[tuple[str, Array]]:
        """Yield all names and arrays in order, decoded in batches as they are reached."""

    def items(self) -> ItemsView[str, Array]:
        """Iterate over names and arrays, decoded in batches as they are reached.

        Tied tensors share one array. An iteration that stops early has read little ahead. Arrays
        belong to the caller. The iteration keeps an array of tied tensors until their last name.
        """
        return _Items(self)

    def values(self) -> ValuesView[Array]:
        """Iterate over the arrays that `items` gives."""
        return _Values(self)

    # A mapping's own equality would decode both sides and compare arrays.
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    def __enter__(self: Own) -> Own:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Items(ItemsView[str, Array]):
    _mapping: LazyArrays

    def __iter__(self) -> Iterator[tuple[str, Array]]:
        return self._mapping.in_batches()


class _Values(ValuesView[Array]):
    _mapping: LazyArrays

    def __iter__(self) -> Iterator[Array]:
        return (array for _, array in self._mapping.in_batches())
