"""Paths that are no UTF-8, as file systems allow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vaecomp_native as vc
from vaecomp_native.codecs.assembly import assemble
from vaecomp_native.codecs.sections import encode_raw
from vaecomp_native.state_dict import read_state_dict

ARRAYS = {"w": np.arange(12, dtype=np.float32).reshape(3, 4)}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / os.fsdecode(b"mod\xe8le")
    try:
        path.mkdir()
    except OSError:
        pytest.skip("the file system takes UTF-8 alone")
    return path


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("kind", [str, Path])
def test_archives_are_read(directory: Path, kind: Any, mmap: bool) -> None:
    path = directory / os.fsdecode(b"\xff.vaec")
    path.write_bytes(assemble(read_state_dict(ARRAYS), [encode_raw(ARRAYS)]))
    assert vc.decode(kind(path), mmap=mmap)["w"].tobytes() == ARRAYS["w"].tobytes()
    vc.verify(kind(path))
    with vc.open(kind(path), mmap=mmap) as archive:
        assert archive.rows("w", 1, 2).tobytes() == ARRAYS["w"][1:2].tobytes()


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_errors_are_those_of_other_paths(directory: Path, content: bytes) -> None:
    path = directory / os.fsdecode(b"\xff.vaec")
    with pytest.raises(FileNotFoundError):
        vc.open(path)
    with pytest.raises(IsADirectoryError):
        vc.open(directory)
    path.write_bytes(content)
    with pytest.raises(vc.ArchiveError):
        vc.open(path)


PRINTS = """
import os, sys
import vaecomp_native
from vaecomp_native import _core
for read in (vaecomp_native.open, _core.ArchiveReader.from_file):
    try:
        read(os.fsencode(sys.argv[1]) if read != vaecomp_native.open else sys.argv[1])
    except OSError as error:
        print(error)
"""


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_errors_can_be_printed(directory: Path, encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINTS, str(directory / "none")],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode("ascii").splitlines()
    assert len(lines) == 2
    assert all("No such file" in line and "le/none" in line for line in lines)
