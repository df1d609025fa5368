"""Checks of arguments that many calls share; each error names the argument."""

from __future__ import annotations

from collections.abc import Sequence

MAX_THREADS = 65_536


def check_threads(threads: int) -> int:
    """Check and return a number of threads; 0 stands for all cores.

    Raises TypeError if it is not a whole number, and ValueError if it is out of range.
    """
    if isinstance(threads, bool) or not hasattr(threads, "__index__"):
        raise TypeError(f"threads is {threads!r}; give a whole number, 0 for all cores")
    if not 0 <= threads <= MAX_THREADS:
        raise ValueError(f"threads is {threads}; give 0 for all cores, or at most {MAX_THREADS}")
    return threads.__index__()


def check_names(names: Sequence[str] | None) -> list[str] | None:
    """Check names of tensors and return them as a list.

    Raises TypeError for a name that is not a string, and for a single string in place of a list.
    """
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
    """Raise ValueError if the value is none of the choices; the message names the option."""
    if value not in choices:
        raise ValueError(f"{option} is {value!r}; choose one of {', '.join(choices)}")
