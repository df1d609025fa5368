"""Where an installed package keeps the library for C and C++, for build systems.

::

    cmake -B build -Dvaecomp_DIR="$(python -m vaecomp_native --cmakedir)"
    PKG_CONFIG_PATH="$(python -m vaecomp_native --pkgconfigdir)" pkg-config --cflags --libs vaecomp
"""

from __future__ import annotations

from pathlib import Path

import vaecomp_native
from vaecomp_native.errors import VaecompError


def include_directory() -> str:
    """Where ``vaecomp.h`` and ``vaecomp.hpp`` are."""
    return _existing("include")


def cmake_directory() -> str:
    """What ``vaecomp_DIR`` has to be for CMake's ``find_package(vaecomp CONFIG)``."""
    return _existing("lib/cmake/vaecomp")


def pkgconfig_directory() -> str:
    """What ``PKG_CONFIG_PATH`` has to be for ``pkg-config vaecomp``."""
    return _existing("lib/pkgconfig")


def _existing(name: str) -> str:
    # An editable install has two directories: one with the sources, one with what was built.
    places = [Path(directory) / name for directory in vaecomp_native.__path__]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise VaecompError(
            f"{places[0]} does not exist: the library for C and C++ comes with `pip install`, "
            "not with a source checkout"
        )
    return str(found)


# The command line's options.
OPTIONS = {
    "--includes": lambda: f"-I{include_directory()}",
    "--cmakedir": cmake_directory,
    "--pkgconfigdir": pkgconfig_directory,
}
