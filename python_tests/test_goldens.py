"""Every archive ever written must decode to the same bytes forever."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pytest

import vaecomp_native as vc
from vaecomp_native import _core, reference

GOLDENS = sorted((Path(__file__).parent / "goldens").glob("*.vaec"))


PARTS = ("", "-blocks", "-pack", "-member", "-exact", "-dtypes", "-strings", "-split")
MEMBERS = re.compile("(?<=-)(member|exact)$")


def test_there_are_goldens_of_each_format_version() -> None:
    versions = range(1, vc.format_version + 1)
    names = {f"format-{version}{part}" for version in versions for part in PARTS}
    assert {path.stem for path in GOLDENS} == names


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.stem)
def test_golden_decodes_to_the_same_bytes(path: Path, isa: str) -> None:
    check(path, vc.decode)


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.stem)
def test_golden_decodes_to_the_same_bytes_by_the_reference(path: Path) -> None:
    check(path, reference.decode)


def check(path: Path, decode: Callable[..., Mapping[str, npt.NDArray[Any]]]) -> None:
    """What a golden decodes to is what is written beside it."""
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    pack = path.with_stem(MEMBERS.sub("pack", path.stem))
    decoded = decode(path.read_bytes(), pack=None if pack == path else pack.read_bytes())
    assert list(decoded) == list(expected)
    for name, array in decoded.items():
        assert _core.dtype_name(array.dtype) == expected[name]["dtype"]
        assert list(array.shape) == expected[name]["shape"]
        assert hashlib.sha256(array.tobytes()).hexdigest() == expected[name]["sha256"]
