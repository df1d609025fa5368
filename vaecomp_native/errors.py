"""Every error that the package raises on purpose.

A message is one line. It says what is wrong and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence


class VaecompError(Exception):
    """Base of all errors of this package."""


class ArchiveError(VaecompError, ValueError):
    """The bytes are not an intact archive; the message names the field and its offset."""


class UnsupportedVersionError(ArchiveError):
    """The archive has a newer format version than this library reads."""


class MissingPackError(ArchiveError):
    """A member of a fleet is opened without its pack or with another pack.

    The message gives the SHA-256 of the right pack.
    """


class WeightsError(VaecompError, ValueError):
    """The weights to compress cannot be used; the message names the tensor."""


class OverwriteError(VaecompError, ValueError):
    """An output is also an input and would overwrite it; the message names the file."""


class ShardingError(VaecompError, ValueError):
    """Weights cannot be written in shards in the way asked for; the message says what can."""


class ModuleMismatchError(VaecompError, ValueError):
    """A module and an archive do not hold the same tensors; the message lists the differences."""


class TrainingError(VaecompError, RuntimeError):
    """Training cannot go on; the message says what to change."""


class CalibrationError(VaecompError, ValueError):
    """The calibration batches cannot be used; the message names the batch or the layer."""


class UnreachableError(VaecompError, ValueError):
    """A size or an accuracy that was asked for cannot be reached; the message says what can."""


def in_one_line(error: BaseException) -> str:
    """Return an error's kind and the first line of its message, for use in another message."""
    message = str(error).strip().splitlines()
    return f"{type(error).__name__}: {message[0]}" if message else type(error).__name__


def listed(names: Sequence[str], max_names: int = 5) -> str:
    """List names for a message: the first few, and how many more there are."""
    shown = ", ".join(f"'{name}'" for name in names[:max_names])
    return shown if len(names) <= max_names else f"{shown} and {len(names) - max_names} more"
