"""Checks of the paths on the command line, made before hours of work go into them."""

from __future__ import annotations

import os
from pathlib import Path

from vaecomp_native.errors import VaecompError


def check_output(out: Path) -> None:
    """Raise `VaecompError` if no file can be written at ``out``."""
    parent = out.parent
    if out.is_dir():
        raise VaecompError(f"{out} is a directory; name a file in it")
    if not parent.is_dir():
        raise VaecompError(f"{out}: the directory {parent} does not exist; create it first")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise VaecompError(f"{out}: no permission to write in {parent}; write elsewhere")


def check_directory(out: Path) -> None:
    """Raise `VaecompError` if ``out`` cannot be used as a directory."""
    if out.exists() and not out.is_dir():
        raise VaecompError(f"{out} is not a directory; name another with --out")
