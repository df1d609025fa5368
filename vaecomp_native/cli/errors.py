"""Errors of the command line, each in one line that says what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vaecomp_native.errors import ArchiveError, VaecompError

TRAIN_EXTRA = ("jinja2", "markupsafe", "matplotlib", "mlxtend", "torch", "torchvision")
"""Modules that come with the ``train`` extra."""


@dataclass(frozen=True)
class Problem:
    """The line that a failure prints on standard error, and its exit code."""

    message: str
    exit_code: int = 1


INTERRUPTED = Problem("interrupted", 130)
BROKEN_PIPE = 141
"""The exit code when nobody reads the output any more, the same as after SIGPIPE."""


class UserInterruptError(Exception):
    """Ctrl-C. The message says what the command has written."""


@contextmanager
def interruptible(outcome: str) -> Iterator[None]:
    """Turn Ctrl-C inside the block into `UserInterruptError`.

    ``outcome`` says what was written, or what was not.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise UserInterruptError(f"interrupted; {outcome}") from None


@contextmanager
def reading(archive: str | Path) -> Iterator[None]:
    """Turn an ArchiveError inside the block into VaecompError with the file's name in front."""
    try:
        yield
    except ArchiveError as error:
        raise VaecompError(f"{archive}: {error}") from error


def explain(error: Exception) -> Problem | None:
    """Explain an error to the user; None for an error that is a bug of this package."""
    if isinstance(error, UserInterruptError):
        return Problem(_one_line(error), INTERRUPTED.exit_code)
    if isinstance(error, VaecompError):
        return Problem(_one_line(error))
    if isinstance(error, ModuleNotFoundError):
        return _missing_module(error)
    if isinstance(error, OSError):
        return Problem(_explain_os_error(error))
    if isinstance(error, MemoryError):
        return Problem("not enough memory; close other programs or use a larger machine")
    return _usage_problem(error)


def _missing_module(error: ModuleNotFoundError) -> Problem | None:
    module = (error.name or "").partition(".")[0]
    if "pip install" in str(error):
        return Problem(_one_line(error))
    if module not in TRAIN_EXTRA:
        return None
    advice = 'install it with pip install "vaecomp_native[train]"'
    return Problem(f"this command needs {module}: {advice}")


_ADVICE = {
    errno.ENOENT: "check the path",
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.EISDIR: "name a file",
    errno.ENOTDIR: "check the path",
    errno.ENOSPC: "free some space or write elsewhere",
    errno.EROFS: "write elsewhere",
}


def _explain_os_error(error: OSError) -> str:
    what = error.strerror or _one_line(error) or type(error).__name__
    where = f"{error.filename}: " if error.filename is not None else ""
    advice = None if ";" in what else _ADVICE.get(error.errno or 0)
    return f"{where}{what}" + (f"; {advice}" if advice else "")


def _usage_problem(error: Exception) -> Problem | None:
    """Explain a wrong option or argument, for which typer or click raises the error."""
    format_message = getattr(error, "format_message", None)
    if format_message is None:
        return None
    command = getattr(getattr(error, "ctx", None), "command_path", "vaecomp")
    message = " ".join(str(format_message()).split()).rstrip(".")
    return Problem(f"{message}; see {command} --help", int(getattr(error, "exit_code", 2)))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
