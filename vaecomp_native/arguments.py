"""Checks of arguments that many calls share; each error names the argument."""

from __future__ import annotations

from collections.abc import Sequence

MAX_THREADS = 65_536


def check_threads(threads: int) -> int:
    """The number of threads, 0 for all cores. Raises TypeError or ValueError."""
    if isinstance(threads, bool) or not hasattr(threads, "__index__"):
        raise TypeError(f"threads is {threads!r}; give a whole number, 0 for all cores")
    if not 0 <= threads <= MAX_THREADS:
        raise ValueError(f"threads is {threads}; give 0 for all cores, or at most {MAX_THREADS}")
    return threads.__index__()


def check_names(names: Sequence[str] | None) -> list[str] | None:
    """Names of tensors as a list. Raises TypeError for a single string, which is a sequence too."""
    if names is None:
        return None
    if isinstance(names, (str, bytes)):
        raise TypeError(f"names is {names!r}; give a list of names, such as [{names!r}]")
    listed = list(names)
    for name in listed:
        if not isinstance(name, str):
            raise TypeError(f"names has {name!r}; tensor names are strings")
    return listed


def check_choice(option: str, value: object, choices: Sequence[str]) -> None:
    """Raise ValueError, naming the option, if its value is none of the choices."""
    if value not in choices:
        raise ValueError(f"{option} is {value!r}; choose one of {', '.join(choices)}")
