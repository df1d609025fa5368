"""The functions of peaks.cpp, compiled for this machine by the system's C++ compiler."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy.typing as npt
import typer

SOURCE = Path(__file__).with_name("peaks.cpp")
FLAGS = ("-std=c++17", "-O2", "-march=native", "-shared", "-fPIC")
STEPS = 1 << 21


class Peaks:
    """Functions whose times give the limits of one core."""

    def __init__(self) -> None:
        self._library = _compiled()
        self._sums = ctypes.create_string_buffer(4096)

    def name(self, kind: str) -> str:
        """Return the name of the instruction set of `fp32` or `int8`."""
        return str(getattr(self._library, f"{kind}_name")().decode())

    def run(self, kind: str) -> float:
        """Run multiply-accumulates of `fp32` or `int8` in registers; return how many there were."""
        return float(getattr(self._library, kind)(STEPS, self._sums))

    def copy(self, to: npt.NDArray[Any], source: npt.NDArray[Any]) -> None:
        """Copy one contiguous array into another of its size by memcpy."""
        self._library.copy(to.ctypes.data, source.ctypes.data, to.nbytes)


def _compiled() -> ctypes.CDLL:
    compiler = shutil.which("c++")
    if compiler is None:
        typer.echo("no C++ compiler: install one that is called c++", err=True)
        raise typer.Exit(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "peaks.so"
        subprocess.run([compiler, *FLAGS, str(SOURCE), "-o", str(path)], check=True)
        library = ctypes.CDLL(str(path))
    for kind in ("fp32", "int8"):
        getattr(library, f"{kind}_name").restype = ctypes.c_char_p
        function = getattr(library, kind)
        function.argtypes = [ctypes.c_size_t, ctypes.c_void_p]
        function.restype = ctypes.c_double
    library.copy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    library.copy.restype = None
    return library
