"""Keeps an encoding's size while it is made."""

from __future__ import annotations

from collections.abc import Mapping

MAX_OCTAVES = 0.5
"""The maximum change of a rate weight, in octaves: about a quarter of a bit a weight."""


class RateControl:
    """Lets later operators make up for the bits that earlier ones took too many or too few.

    Corrections change the bits of operators by some percent, which nothing foretells. Without
    control the file would miss its size, and all would have to be encoded again.
    """

    def __init__(self, expected: Mapping[str, float], elements: Mapping[str, int]) -> None:
        """Take the expected bits and the elements of operators. The others are not controlled."""
        self._expected = expected
        self._elements = elements
        self._excess = 0.0
        self._left = sum(elements[name] for name in expected)

    @property
    def factor(self) -> float:
        """The factor of the next operator's rate weight. Two octaves take a bit a weight."""
        octaves = 2 * self._excess / max(self._left, 1)
        return float(2.0 ** min(max(octaves, -MAX_OCTAVES), MAX_OCTAVES))

    def add(self, name: str, bits: float) -> None:
        """Take in the bits that an operator took."""
        if name in self._expected:
            self._excess += bits - self._expected[name]
            self._left -= self._elements[name]
