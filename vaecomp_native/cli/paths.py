"""Checks of paths on the command line, made before hours of work."""

from __future__ import annotations

from pathlib import Path

from vaecomp_native.errors import VaecompError


def check_directory(out: Path) -> None:
    """Raise `VaecompError` if ``out`` cannot be used as a directory."""
    if out.exists() and not out.is_dir():
        raise VaecompError(f"{out} is not a directory; name another with --out")
