"""The C interface from one version to another: older and newer programs, and what the header says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import vaecomp_native as vc

GOLDEN = Path(__file__).parent / "goldens" / "format-1.vaec"
SOURCES = Path(__file__).parent.parent / "csrc"
INCLUDE = Path(vc.__file__).parent / "include"
LIBRARY = Path(vc.__file__).parent / "lib"
SIZED = ("error", "options", "tensor_info", "accounting", "chunks")
HEADERS = ("present", "later")

needs_compilers = pytest.mark.skipif(
    sys.platform != "linux" or not all(map(shutil.which, ("cc", "c++"))) or not SOURCES.exists(),
    reason="needs Linux, compilers and a checkout",
)


def compile_with(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for each header, with it and its library.

    The later header has another member at the end of each structure that begins with its size.
    """
    root = tmp_path_factory.mktemp("versions")
    shutil.copytree(INCLUDE, root / "present")
    shutil.copytree(INCLUDE, root / "later")
    header = root / "later" / "vaecomp.h"
    ends = re.compile(rf"^(?=}} vaecomp_({'|'.join(SIZED)});)", re.MULTILINE)
    text, count = ends.subn("    uint64_t later;\n", header.read_text(encoding="utf-8"))
    assert count == len(SIZED)
    header.write_text(text, encoding="utf-8")
    shutil.copy(LIBRARY / "libvaecomp.so.1", root / "present")
    # The interface is compiled again; all else is the same.
    include = [f"-I{root / 'later'}", f"-I{SOURCES}"]
    options = ["-std=c++20", "-O1", "-fPIC", "-shared", '-DVAECOMP_VERSION="later"', *include]
    files = [SOURCES / "abi" / "vaecomp.cpp", LIBRARY / "libvaecomp.a"]
    soname = "libvaecomp.so.1"
    compile_with(
        "c++", *options, *files, "-pthread", f"-Wl,-soname,{soname}", "-o", root / "later" / soname
    )
    return root


def run(versions: Path, header: str, library: str, *options: str) -> tuple[int, Sequence[str]]:
    """Runs a program that was compiled with one header on the library of another."""
    program = versions / f"structures-{header}{''.join(options)}"
    own = versions / header
    source = SOURCES / "tests" / "structures.c"
    compile_with(
        "cc",
        "-std=c11",
        "-Wall",
        "-Werror",
        *options,
        f"-I{own}",
        source,
        own / "libvaecomp.so.1",
        "-o",
        program,
    )
    done = subprocess.run(
        [program, GOLDEN],
        capture_output=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "LD_LIBRARY_PATH": str(versions / library)},
    )
    return done.returncode, done.stdout.splitlines()


@needs_compilers
@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("library", HEADERS)
def test_a_program_runs_on_an_older_and_a_newer_library(
    versions: Path, header: str, library: str
) -> None:
    code, lines = run(versions, header, library)
    assert code == 0
    error, tensor, size, *groups, untouched = lines
    assert error == "the archive has no tensor 'absent'"
    assert tensor == "encoder.weight 1500"
    assert size == f"{GOLDEN.stat().st_size} bytes"
    assert len(groups) > 1
    assert untouched == "untouched"


@needs_compilers
def test_an_older_library_refuses_what_it_can_not_do(versions: Path) -> None:
    assert run(versions, "later", "later", "-DLATER=1")[0] == 0
    assert run(versions, "later", "present", "-DLATER=0")[0] == 0
    code, lines = run(versions, "later", "present", "-DLATER=1")
    assert code == 1
    assert re.fullmatch("invalid argument: .* does not have; update the library", lines[0])


def test_the_header_has_a_word_for_every_parameter_and_member() -> None:
    header = (INCLUDE / "vaecomp.h").read_text(encoding="utf-8")
    functions = re.findall(r"/\*\*([^/]*)\*/\nVAECOMP_API [^(]*\(([^)]*)\);", header)
    assert len(functions) == header.count("\nVAECOMP_API ")
    for comment, parameters in functions:
        declared = re.findall(r"(\w+)(?:,|$)", "" if parameters == "void" else parameters)
        assert re.findall(r"@param (\w+) ", comment) == declared, comment
    structures = re.findall(r"^typedef struct \w+ {\n(.*?)^}", header, re.DOTALL | re.MULTILINE)
    assert len(structures) == header.count("typedef struct") - 1  # the handle has no members
    for members in structures:
        lines = members.splitlines()
        for before, line in zip(["", *lines], lines, strict=False):
            if ";" in line.split("/**")[0]:
                assert "/**<" in line or before.endswith("*/"), line
