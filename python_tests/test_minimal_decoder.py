"""The decoder of examples/minimal_decoder, which knows nothing but docs/format.md and docs/kernels.md."""

from __future__ import annotations

import hashlib
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from vaecomp_native import _core

from .archive_writer import Archive
from .archives import make_sample
from .fleets import make_member, make_pack

EXAMPLE = Path(__file__).parent.parent / "examples" / "minimal_decoder"
GOLDENS = [
    Path(__file__).parent / "goldens" / f"format-1{part}.vaec"
    for part in ("", "-blocks", "-pack", "-member", "-exact", "-dtypes", "-strings")
]
GOLDEN, BLOCKS, PACK, MEMBER = (path.read_bytes() for path in GOLDENS[:4])
RAW = 1

pytestmark = pytest.mark.skipif(not EXAMPLE.exists(), reason="needs a checkout")


@pytest.fixture(scope="module")
def minimal() -> Iterator[ModuleType]:
    """The example, imported as its own directory would import it."""
    before = set(sys.modules)
    sys.path.insert(0, str(EXAMPLE))
    try:
        yield importlib.import_module("decode")
    finally:
        sys.path.remove(str(EXAMPLE))
        for name in {"decode", "exact", "fleet", "sections", "basics"} - before:
            sys.modules.pop(name, None)


def expected_of(golden: Path) -> dict[str, Any]:
    expected: dict[str, Any] = json.loads(golden.with_suffix(".json").read_text(encoding="utf-8"))
    return expected


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda path: path.stem)
def test_goldens(minimal: ModuleType, golden: Path) -> None:
    expected = expected_of(golden)
    decoded = minimal.decode(golden.read_bytes(), PACK)
    assert list(decoded) == list(expected)
    for name, own in decoded.items():
        assert own.dtype == expected[name]["dtype"]
        assert list(own.shape) == expected[name]["shape"]
        assert hashlib.sha256(own.data).hexdigest() == expected[name]["sha256"], name


@pytest.mark.parametrize("seed", [1, 2])
def test_other_samples(minimal: ModuleType, seed: int) -> None:
    sample = make_sample(seed)
    decoded = minimal.decode(sample.data)
    assert list(decoded) == list(sample.arrays)
    for name, array in sample.arrays.items():
        little = array.astype(array.dtype.newbyteorder("<"))
        own = decoded[name]
        assert (own.dtype, own.shape) == (_core.dtype_name(array.dtype), array.shape)
        assert own.data == little.tobytes(), name


def test_other_members(minimal: ModuleType) -> None:
    pack = make_pack(7)
    member = make_member(pack, 8)
    decoded = minimal.decode(member.data, pack.data)
    assert list(decoded) == list(member.arrays)
    for name, array in member.arrays.items():
        assert decoded[name].data == array.astype(array.dtype.newbyteorder("<")).tobytes(), name


def test_a_member_is_refused_without_its_pack(minimal: ModuleType) -> None:
    digest = hashlib.sha256(PACK).hexdigest()
    for pack in (None, GOLDEN):
        with pytest.raises(minimal.FormatError, match=f"pack at offset 32: .*{digest}"):
            minimal.decode(MEMBER, pack)


def test_an_empty_archive(minimal: ModuleType) -> None:
    assert minimal.decode(Archive().build()) == {}


def run(*paths: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, str(EXAMPLE / "decode.py"), *map(str, paths)], capture_output=True
    )


@pytest.mark.parametrize("paths", [GOLDENS[:1], [GOLDENS[3], GOLDENS[2]]], ids=["alone", "member"])
def test_process(paths: list[Path]) -> None:
    done = run(*paths)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = [line.split("\t") for line in done.stdout.decode("utf-8").splitlines()]
    assert lines == [
        [name, tensor["dtype"], str(tensor["shape"]), tensor["sha256"]]
        for name, tensor in expected_of(paths[0]).items()
    ]


def test_process_refuses_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "cut.vaec"
    path.write_bytes(GOLDEN[:-1])
    done = run(path)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"size of file at offset 16" in done.stderr


# Any other exception would get through `raises`.


@pytest.mark.parametrize(
    ("data", "step"),
    [(GOLDEN, 59), (BLOCKS, 2503), (PACK, 31), (MEMBER, 3)],
    ids=["golden", "blocks", "pack", "member"],
)
def test_changed_bytes_are_refused(minimal: ModuleType, data: bytes, step: int) -> None:
    for position in [*range(32), *range(32, len(data), step), len(data) - 1]:
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        with pytest.raises(minimal.FormatError, match="at offset") as caught:
            minimal.decode(bytes(changed), PACK)
        assert 0 <= caught.value.offset <= len(data)


def test_truncations_and_an_extension_are_refused(minimal: ModuleType) -> None:
    for length in [*range(34), *range(34, len(GOLDEN), 229)]:
        with pytest.raises(minimal.FormatError, match="at offset"):
            minimal.decode(GOLDEN[:length])
    with pytest.raises(minimal.FormatError, match="at offset"):
        minimal.decode(GOLDEN + b"\0")
