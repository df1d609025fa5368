"""Arrays in memory or in files without names, alike for whoever uses them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vaecomp_native.io import scratch as scratch_module
from vaecomp_native.io.scratch import Scratch
from vaecomp_native.quantization.matrix import QuantizedMatrix

from .samples import FLOAT_DTYPES

SHAPES = [(3, 4), (5,), (2, 3, 2), (0, 3), (), (6, 2)]


def mapped_files(directory: Path) -> set[str]:
    """Files of a directory that are mapped into this process and have no name there any more."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {line for line in lines if str(directory) in line and line.endswith("(deleted)")}


@pytest.mark.parametrize("room", [0, 100, 1 << 20])
def test_copies_are_equal_and_share_nothing(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch_module, "ROOM", room)
    rng = np.random.default_rng(0)
    scratch = Scratch()
    arrays = [rng.standard_normal(shape) for shape in SHAPES]
    arrays = [one.astype(dtype) for one in arrays for dtype in FLOAT_DTYPES]
    arrays.append(rng.standard_normal((4, 3)).T)
    for array in arrays:
        kept = scratch.copy(array)
        assert kept.dtype == array.dtype and kept.shape == array.shape
        assert kept.tobytes() == array.tobytes() and kept.flags.writeable
        assert not np.shares_memory(kept, array)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's /proc")
def test_what_exceeds_the_room_is_in_files_that_go_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(scratch_module, "ROOM", 4096)
    scratch = Scratch()
    small = scratch.empty((512,), np.float64)
    assert not mapped_files(tmp_path)
    large = [scratch.empty((4, 100), np.float32) for _ in range(3)]
    assert len(mapped_files(tmp_path)) == 3
    assert not list(tmp_path.iterdir())
    view = large[0][1:]
    del large
    assert len(mapped_files(tmp_path)) == 1
    view[...] = 1.0
    assert small.shape == (512,)
    del view
    assert not mapped_files(tmp_path)


def test_a_full_disk_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch_module, "ROOM", 0)
    with pytest.raises(OSError, match=r"[Ss]pace|large|big"):
        Scratch().empty((1 << 58,), np.uint8)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's /proc")
def test_memory_of_arrays_that_are_gone_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(scratch_module, "ROOM", 4096)
    scratch = Scratch()
    array = scratch.empty((4096,), np.uint8)
    view = array[10:]
    del array
    mapped = scratch.empty((1,), np.uint8)
    assert len(mapped_files(tmp_path)) == 1
    del view, mapped
    for _ in range(3):
        scratch.copy(np.ones(4096, np.uint8))
        assert not mapped_files(tmp_path)


def test_quantized_matrices_keep_their_values_there(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = QuantizedMatrix(np.array([[3, -2], [0, 130]], np.int32), step=0.5)
    for room in (0, 1 << 20):
        monkeypatch.setattr(scratch_module, "ROOM", room)
        kept = matrix.kept_in(Scratch())
        assert kept.symbols.dtype == matrix.symbols.dtype
        assert kept.values().tobytes() == matrix.values().tobytes()
        assert not np.shares_memory(kept.symbols, matrix.symbols)
