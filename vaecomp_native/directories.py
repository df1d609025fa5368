"""Where an installed package keeps the library for C and C++, for build systems.

::

    cmake -B build -Dvaecomp_DIR="$(python -m vaecomp_native --cmakedir)"
    PKG_CONFIG_PATH="$(python -m vaecomp_native --pkgconfigdir)" pkg-config --cflags --libs vaecomp
"""

from __future__ import annotations

from pathlib import Path

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
    path = Path(__file__).parent / name
    if not path.is_dir():
        raise VaecompError(
            f"{path} does not exist: the library for C and C++ comes with `pip install`, "
            "not with a source checkout"
        )
    return str(path)


# The command line's options.
OPTIONS = {
    "--includes": lambda: f"-I{include_directory()}",
    "--cmakedir": cmake_directory,
    "--pkgconfigdir": pkgconfig_directory,
}
