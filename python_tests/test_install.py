"""What `pip install` leaves for C and C++: other projects find it, link it, and decode the same bytes with it."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vaecomp_native as vc
from vaecomp_native import directories

EXAMPLE = Path(__file__).parent.parent / "examples" / "consumer"
GOLDEN = Path(__file__).parent / "goldens" / "format-1.vaec"
INCLUDE = Path(directories.include_directory())
LIBRARY = INCLUDE.parent / "lib"

needs = {
    tool: pytest.mark.skipif(shutil.which(tool) is None, reason=f"needs {tool}")
    for tool in ("cc", "c++", "cmake", "nm", "pkg-config", "readelf")
}
needs_example = pytest.mark.skipif(not EXAMPLE.exists(), reason="needs a checkout")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads ELF files")


def output_of(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def asked(option: str) -> str:
    return output_of(sys.executable, "-m", "vaecomp_native", option).strip()


def link_flags(*options: str, library: Path = LIBRARY) -> list[str]:
    flags = output_of("pkg-config", *options, "vaecomp", PKG_CONFIG_PATH=str(library / "pkgconfig"))
    return flags.split()


def decodes_the_golden(program: Path) -> None:
    """The program's output has every tensor's name, dtype and bytes."""
    decoded = program.with_suffix(".bin")
    lines = output_of(program, GOLDEN, decoded).splitlines()
    contents = decoded.read_bytes()
    expected = json.loads(GOLDEN.with_suffix(".json").read_text(encoding="utf-8"))
    found = {}
    for line in lines:
        name, dtype, size = line.rsplit(" ", 2)
        own, contents = contents[: int(size)], contents[int(size) :]
        found[name] = (dtype, hashlib.sha256(own).hexdigest())
    assert contents == b""
    assert found == {name: (tensor["dtype"], tensor["sha256"]) for name, tensor in expected.items()}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "consumer"))


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """A copy of the library's directory somewhere else, without the Python package."""
    shutil.copytree(INCLUDE, tmp_path / "elsewhere" / "include")
    return Path(shutil.copytree(LIBRARY, tmp_path / "elsewhere" / "lib"))


def built(project: Path, *options: str) -> Path:
    build = project / "build"
    output_of("cmake", "-S", project, "-B", build, *options)
    output_of("cmake", "--build", build)
    return build


@needs["cmake"]
@needs["c++"]
@needs_example
@pytest.mark.parametrize("library", ["vaecomp::vaecomp", "vaecomp::static"])
def test_a_cmake_project_in_c_and_cpp(project: Path, library: str) -> None:
    directory = asked("--cmakedir")
    build = built(project, f"-Dvaecomp_DIR={directory}", f"-DVAECOMP_LIBRARY={library}")
    for program in ("consumer_c", "consumer_cpp"):
        decodes_the_golden(build / program)


@needs["cmake"]
@needs["cc"]
@needs_example
@pytest.mark.parametrize("library", ["vaecomp", "static"])
def test_a_cmake_project_in_c_alone_with_a_library_that_was_moved(
    project: Path, moved: Path, library: str
) -> None:
    (project / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\n"
        "project(consumer LANGUAGES C)\n"
        "find_package(vaecomp CONFIG REQUIRED)\n"
        "add_executable(consumer main.c)\n"
        f"target_link_libraries(consumer PRIVATE vaecomp::{library})\n",
        encoding="utf-8",
    )
    build = built(project, f"-Dvaecomp_DIR={moved / 'cmake' / 'vaecomp'}", "-G", "Unix Makefiles")
    link = (build / "CMakeFiles" / "consumer.dir" / "link.txt").read_text(encoding="utf-8")
    assert str(moved) in link
    assert str(LIBRARY) not in link
    decodes_the_golden(build / "consumer")


@needs["cmake"]
@needs["c++"]
@needs_example
def test_cmake_refuses_another_major_version(project: Path) -> None:
    text = (project / "CMakeLists.txt").read_text(encoding="utf-8")
    (project / "CMakeLists.txt").write_text(text.replace("vaecomp 0.1", "vaecomp 99"))
    command = [
        "cmake",
        "-S",
        project,
        "-B",
        project / "build",
        f"-Dvaecomp_DIR={LIBRARY / 'cmake' / 'vaecomp'}",
    ]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode != 0
    assert "99" in done.stderr


@needs["pkg-config"]
@needs["c++"]
@needs["cc"]
@needs_example
def test_compilers_with_pkg_config(project: Path) -> None:
    path = asked("--pkgconfigdir")
    flags = output_of("pkg-config", "--cflags", "--libs", "vaecomp", PKG_CONFIG_PATH=path).split()
    flags.append(f"-Wl,-rpath,{LIBRARY}")
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    output_of("c++", "-std=c++17", *strict, project / "main.cpp", *flags, "-o", project / "cpp")
    output_of("cc", "-std=c11", *strict, project / "main.c", *flags, "-o", project / "c")
    decodes_the_golden(project / "cpp")
    decodes_the_golden(project / "c")


@on_linux
@needs["pkg-config"]
@needs["cc"]
@needs_example
def test_a_static_program_in_c_with_pkg_config(project: Path) -> None:
    if not Path(output_of("cc", "-print-file-name=libc.a").strip()).is_absolute():
        pytest.skip("needs static libraries of the compiler's")
    flags = link_flags("--static", "--cflags", "--libs")
    output_of("cc", "-std=c11", project / "main.c", *flags, "-static", "-o", project / "c")
    decodes_the_golden(project / "c")
    assert "NEEDED" not in output_of("readelf", "--dynamic", project / "c")


@needs["pkg-config"]
def test_pkg_config_describes_a_library_that_was_moved(moved: Path) -> None:
    include, search, name = link_flags("--cflags", "--libs", library=moved)
    assert Path(include.removeprefix("-I")).resolve() == moved.parent / "include"
    assert Path(search.removeprefix("-L")).resolve() == moved
    assert name == "-lvaecomp"
    assert link_flags("--modversion") == [vc.__version__]


def shared_library() -> Path:
    name = "libvaecomp.1.dylib" if sys.platform == "darwin" else "libvaecomp.so.1"
    return LIBRARY / name


def test_the_shared_library_says_its_versions() -> None:
    library = ctypes.CDLL(str(shared_library()))
    library.vaecomp_version.restype = ctypes.c_char_p
    assert library.vaecomp_version().decode() == vc.__version__
    assert library.vaecomp_abi_version() == 1
    assert library.vaecomp_format_version() == vc.format_version


@on_linux
@needs["nm"]
@needs["readelf"]
def test_the_shared_library_shows_the_interface_and_nothing_else() -> None:
    header = (INCLUDE / "vaecomp.h").read_text(encoding="utf-8")
    declared = set(re.findall(r"^VAECOMP_API [^(]*?(\w+)\(", header, re.MULTILINE))
    symbols = output_of("nm", "--dynamic", "--defined-only", shared_library()).split("\n")
    shown = {tuple(line.split()[1:]) for line in symbols if line and line.split()[1] != "A"}
    assert shown == {("T", f"{name}@@VAECOMP_1") for name in declared}
    assert "[libvaecomp.so.1]" in output_of("readelf", "--dynamic", shared_library())


@on_linux
def test_the_shared_library_is_small() -> None:
    assert shared_library().stat().st_size <= 400_000


# docs/versioning.md: what programs are compiled with, on 64-bit systems.
STRUCTURES = {
    "vaecomp_error": 512,
    "vaecomp_allocator": 24,
    "vaecomp_runner": 16,
    "vaecomp_options": 72,
    "vaecomp_reader": 32,
    "vaecomp_tensor_info": 72,
    "vaecomp_string": 16,
    "vaecomp_accounting": 56,
    "vaecomp_chunks": 40,
    "vaecomp_output": 40,
    "vaecomp_member_outputs": 24,
}
# Their numbers are their places.
CODES = """
OK INVALID_ARGUMENT MALFORMED UNSUPPORTED_VERSION CHECKSUM MISSING_PACK IO OUT_OF_MEMORY
MEMORY_LIMIT INTERNAL
"""
DTYPES = """
BOOL UINT8 INT8 UINT16 INT16 UINT32 INT32 UINT64 INT64 FLOAT16 BFLOAT16 FLOAT32 FLOAT64
FLOAT8_E4M3FN FLOAT8_E5M2 COMPLEX64 COMPLEX128 FLOAT8_E4M3FNUZ FLOAT8_E5M2FNUZ FLOAT8_E8M0FNU
FLOAT4_E2M1FN_X2 COMPLEX32 INT1 INT2 INT3 INT4 INT5 INT6 INT7 UINT1 UINT2 UINT3 UINT4 UINT5 UINT6
UINT7
"""
CODECS = "RAW LATENT ALIAS QUANTIZED LOSSLESS MEMBER SHARED DIFFERENCES"


@needs["cc"]
def test_numbers_and_sizes_of_the_interface_stay(tmp_path: Path) -> None:
    claims = [f"sizeof({name}) == {size}" for name, size in STRUCTURES.items()]
    for group in (CODES, DTYPES, CODECS):
        claims += [f"VAECOMP_{name} == {number}" for number, name in enumerate(group.split())]
    source = tmp_path / "claims.c"
    source.write_text(
        "#include <vaecomp.h>\n"
        + "".join(f'_Static_assert({claim}, "{claim}");\n' for claim in claims)
    )
    output_of("cc", "-std=c11", "-fsyntax-only", asked("--includes"), source)


def test_directories_are_those_of_the_command() -> None:
    assert asked("--includes") == f"-I{directories.include_directory()}"
    assert asked("--cmakedir") == directories.cmake_directory()
    assert asked("--pkgconfigdir") == directories.pkgconfig_directory()
    text = output_of(sys.executable, "-m", "vaecomp_native", "--help")
    for option in directories.OPTIONS:
        assert option in text


def test_directories_come_without_the_command_line_or_torch() -> None:
    code = """
import runpy, sys
sys.argv = ["vaecomp_native", "--cmakedir"]
runpy.run_module("vaecomp_native", run_name="__main__")
print(sorted({"torch", "typer"} & set(sys.modules)))
"""
    assert output_of(sys.executable, "-c", code).splitlines()[-1] == "[]"


@pytest.mark.skipif(len(vc.__path__) > 1, reason="an editable install is found before the copy")
def test_a_package_without_the_library_says_so(tmp_path: Path) -> None:
    package = Path(vc.__file__).parent
    without = shutil.ignore_patterns("include", "lib", "__pycache__")
    shutil.copytree(package, tmp_path / package.name, ignore=without)
    done = subprocess.run(
        [sys.executable, "-m", "vaecomp_native", "--cmakedir"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"vaecomp: .* does not exist: .*pip install.*\n", done.stderr)
