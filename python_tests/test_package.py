from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import vaecomp_native
from vaecomp_native import kernels


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_importing_brings_numpy_and_nothing_else() -> None:
    code = """
import sys, numpy
before = set(sys.modules)
import vaecomp_native
standard = set(sys.stdlib_module_names) | {"numpy", "vaecomp_native"}
print(sorted({name.split(".")[0] for name in set(sys.modules) - before} - standard))
"""
    assert run_python(code).stdout.strip() == "[]"


def test_what_only_writers_need_is_imported_when_it_is_used() -> None:
    code = """
import sys
from pathlib import Path
import vaecomp_native
print("vaecomp_native.compression.pipeline" in sys.modules)
print(vaecomp_native.compress.__module__, vaecomp_native.plan(  # twice: the first use imports
    {}).__class__.__name__, vaecomp_native.plan.__module__)
"""
    found = run_python(code).stdout.split()
    assert found[0] == "False"
    assert found[1:] == [
        "vaecomp_native.compression.pipeline",
        "Plan",
        "vaecomp_native.compression.plan",
    ]


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="'vaecomp_native' has no attribute 'compres'"):
        _ = vaecomp_native.compres  # type: ignore[attr-defined]
    assert dir(vaecomp_native) == sorted(vaecomp_native.__all__)


def test_public_names_are_there_and_documented() -> None:
    public = vaecomp_native.__all__
    assert len(public) == len(set(public))
    for name in {"compress", "plan", "Plan", "RunnerUp", "UnreachableError"} | set(public):
        assert name in public
        assert getattr(vaecomp_native, name).__doc__


def test_version_is_the_distributions() -> None:
    from importlib.metadata import version

    assert vaecomp_native.__version__ == version("vaecomp_native")


@pytest.mark.parametrize("name", kernels.available_isas())
def test_environment_forces_an_instruction_set(name: str) -> None:
    code = "from vaecomp_native import kernels; print(kernels.isa())"
    assert run_python(code, VAECOMP_ISA=name).stdout.strip() == name


def test_an_unknown_instruction_set_is_refused_with_the_choices() -> None:
    code = "from vaecomp_native import kernels; kernels.isa()"
    result = run_python(code, VAECOMP_ISA="mmx")
    assert result.returncode != 0
    assert "VAECOMP_ISA: instruction set 'mmx' is not available" in result.stderr
    assert "scalar" in result.stderr
    with pytest.raises(ValueError, match="'mmx' is not available"), kernels.use_isa("mmx"):
        pass
    assert kernels.isa() in kernels.available_isas()


def test_no_module_below_the_command_line_imports_the_package_itself() -> None:
    """It names what its modules hold: a module that imports it would run in a circle."""
    root = Path(vaecomp_native.__file__).parent
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] in ("cli", "demo", "__main__.py", "__init__.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            assert "vaecomp_native" not in named, path
