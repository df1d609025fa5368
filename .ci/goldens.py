"""Decode every golden archive with every instruction set, and compare each tensor with its golden.

usage: goldens.py DIRECTORY COMMAND...

COMMAND runs a build of csrc/tests/decode_file.cpp. DIRECTORY must be new. The tensors of each
instruction set stay in a folder of it, for comparisons with those of other machines.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

GOLDENS = sorted((Path(__file__).parents[1] / "python_tests" / "goldens").glob("*.vaec"))


def run(command: list[str], archive: Path, directory: Path, isa: str) -> tuple[int, str, str]:
    """Return status, output and errors of COMMAND with an instruction set.

    Members stand beside their packs.
    """
    name, _, part = archive.stem.rpartition("-")
    pack = [archive.with_stem(f"{name}-pack")] if part in ("member", "exact") else []
    result = subprocess.run(
        [*command, archive, directory, *pack],
        env={**os.environ, "VAECOMP_ISA": isa},
        capture_output=True,
        encoding="utf-8",
    )
    return result.returncode, result.stdout, result.stderr


def instruction_sets(command: list[str], directory: Path) -> list[str]:
    """Return the instruction sets of the machine that COMMAND runs on.

    COMMAND names them in its error for an instruction set that no machine has.
    """
    _, _, errors = run(command, GOLDENS[0], directory, "none")
    choices = re.search(r"choose one of (.*)", errors)
    if choices is None:
        sys.exit(f"{' '.join(command)} names no instruction sets: {errors}")
    return choices[1].split(", ")


def decode(command: list[str], archive: Path, directory: Path, isa: str) -> dict[str, object]:
    """Tensors by their names, as a golden's .json describes them."""
    status, output, errors = run(command, archive, directory, isa)
    if status != 0:
        sys.exit(f"{archive.name}, {isa}: {' '.join(command)} ended with {status}: {errors}")
    tensors: dict[str, object] = {}
    for line in output.splitlines():
        number, dtype, shape, name = line.split("\t")
        tensors[name] = {
            "dtype": dtype,
            "shape": [int(size) for size in shape.split(",") if size],
            "sha256": hashlib.sha256((directory / number).read_bytes()).hexdigest(),
        }
    return tensors


def main(directory: Path, command: list[str]) -> None:
    """Exit with a message at the first golden that is decoded otherwise."""
    directory.mkdir(parents=True)
    isas = instruction_sets(command, directory)
    for isa in isas:
        for archive in GOLDENS:
            expected = json.loads(archive.with_suffix(".json").read_text(encoding="utf-8"))
            folder = directory / isa / archive.stem
            folder.mkdir(parents=True)
            decoded = decode(command, archive, folder, isa)
            if list(decoded.items()) != list(expected.items()):
                wrong = [name for name in expected if decoded.get(name) != expected[name]]
                sys.exit(f"{archive.name}, {isa}: {' '.join(command)} decodes otherwise: {wrong}")
    print(f"{directory.name}: as it must be with {', '.join(isas)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
