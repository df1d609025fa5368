"""Directories of the C and C++ library in an installed package, for build systems.

::

    cmake -B build -Dvaecomp_DIR="$(python -m vaecomp_native --cmakedir)"
    PKG_CONFIG_PATH="$(python -m vaecomp_native --pkgconfigdir)" pkg-config --cflags --libs vaecomp
"""

from __future__ import annotations

import sys
from pathlib import Path

from vaecomp_native.errors import VaecompError


def include_directory() -> str:
    """Return the directory of ``vaecomp.h`` and ``vaecomp.hpp``. Raises VaecompError."""
    return _existing("include")


def cmake_directory() -> str:
    """Return ``vaecomp_DIR`` for CMake's ``find_package(vaecomp CONFIG)``. Raises VaecompError."""
    return _existing("lib/cmake/vaecomp")


def pkgconfig_directory() -> str:
    """Return ``PKG_CONFIG_PATH`` for ``pkg-config vaecomp``. Raises VaecompError."""
    return _existing("lib/pkgconfig")


def _existing(name: str) -> str:
    # An editable install has two directories: one with the sources, one with what was built.
    package = sys.modules["vaecomp_native"]
    places = [Path(directory) / name for directory in package.__path__]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise VaecompError(
            f"{places[0]} does not exist: the library for C and C++ comes with `pip install`, "
            "not with a source checkout"
        )
    return str(found)


# The options of the command line that print a directory.
OPTIONS = {
    "--includes": lambda: f"-I{include_directory()}",
    "--cmakedir": cmake_directory,
    "--pkgconfigdir": pkgconfig_directory,
}
