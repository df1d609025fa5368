"""Split tensors of lossless sections: high bits as symbols, low bits as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vaecomp_native as vc
from vaecomp_native import _core, reference
from vaecomp_native.errors import ArchiveError

from .archive_writer import Archive, SplitFields, lossless_section, split_tensor, tensor
from .samples import generators

Array = npt.NDArray[Any]

FLOATS = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.complex64, np.complex128]
LOSSLESS, SPLIT = 7, 2


def same(found: Array, expected: Array) -> bool:
    return found.dtype == expected.dtype and found.tobytes() == expected.tobytes()


def forms(arrays: list[Array]) -> list[int]:
    """The first byte of each tensor, each in a section of its own."""
    sections = [_core.encode_lossless([array]) for array in arrays]
    starts = [1 + next(i for i, byte in enumerate(one) if byte < 128) for one in sections]
    return [one[start] for one, start in zip(sections, starts, strict=True)]


def trained(rng: np.random.Generator, rows: int, columns: int) -> npt.NDArray[np.float64]:
    """Normal numbers whose rows and columns have scales of their own."""
    by_row, by_column = np.exp(rng.normal(size=(rows, 1))), np.exp(0.5 * rng.normal(size=columns))
    return np.asarray(rng.normal(size=(rows, columns)) * by_row * by_column)


@given(
    rng=generators,
    dtype=st.sampled_from(FLOATS),
    shape=st.sampled_from([(5000,), (1, 5000), (5000, 1), (70, 80), (10, 10, 10, 6), (2, 70_000)]),
    kind=st.sampled_from(["trained", "half", "special", "bits", "grid"]),
)
def test_every_bit_comes_back_on_both_paths(
    isa: str, rng: np.random.Generator, dtype: type[Any], shape: tuple[int, ...], kind: str
) -> None:
    size = int(np.prod(shape))
    values = trained(rng, size // 50, 50).reshape(shape)
    array = values.astype(dtype)
    if kind == "half":  # some rows were float16 once
        array[: len(array) // 2] = values[: len(array) // 2].astype(np.float16).astype(dtype)
    elif kind == "special":
        array.reshape(-1)[rng.integers(0, size, 40)] = rng.choice(
            [np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-7], 40
        )
    elif kind == "bits":
        array = np.frombuffer(rng.bytes(array.nbytes), dtype).reshape(shape)
    elif kind == "grid":
        array = np.asarray(rng.integers(-8, 8, shape) * 0.125).astype(dtype)
    section = _core.encode_lossless([array])
    archive = Archive([], [(LOSSLESS, section)], [tensor("x", 4, array, 0)])
    data = archive.build()
    assert same(vc.decode(data)["x"], array)
    assert same(reference.decode(data)["x"], array)
    with vc.open(data) as opened:
        assert same(opened.rows("x", 1, 3), array[1:3])


@pytest.mark.parametrize("dtype", FLOATS)
def test_trained_weights_are_split(dtype: type[Any]) -> None:
    rng = np.random.default_rng(1)
    values = trained(rng, 300, 200)
    if np.issubdtype(dtype, np.complexfloating):
        values = values + 1j * trained(rng, 300, 200)
    assert forms([values.astype(dtype)]) == [SPLIT]


def test_planes_stay_where_they_are_smaller() -> None:
    """Small tensors, integers, and floats of few values whose low bytes repeat."""
    rng = np.random.default_rng(2)
    small = rng.normal(size=(60, 60)).astype(np.float32)
    integers = rng.integers(-9, 9, (200, 100)).astype(np.int32)
    few = rng.choice(rng.normal(size=9), (200, 100)).astype(np.float32)
    assert SPLIT not in forms([small, integers, few])


@pytest.mark.parametrize(
    ("dtype", "bits"), [(np.float16, 13.47), (ml_dtypes.bfloat16, 10.47), (np.float32, 26.47)]
)
def test_split_takes_about_its_entropy(dtype: type[Any], bits: float) -> None:
    """Of normal numbers: 2.047 bits, and those of the mantissa's end below 1."""
    array = np.random.default_rng(3).normal(size=(1000, 1000)).astype(dtype)
    found = 8 * len(_core.encode_lossless([array])) / array.size
    assert bits < found < bits + 0.04


def test_rows_of_other_scales_share_what_is_known_of_them() -> None:
    rng = np.random.default_rng(4)
    equal = rng.normal(size=(500, 500))
    scaled = equal * np.exp2(rng.uniform(-3, 3, (500, 1)))
    sizes = [len(_core.encode_lossless([a.astype(np.float32)])) for a in (equal, scaled)]
    assert sizes[1] < 1.004 * sizes[0]


def test_zeros_at_the_ends_of_a_rows_mantissas_take_nothing() -> None:
    rng = np.random.default_rng(5)
    array = rng.normal(size=(400, 100)).astype(np.float32)
    halves = array.copy()
    halves[::2] = array[::2].astype(np.float16)
    sizes = [len(_core.encode_lossless([a])) for a in (array, halves)]
    saved = 8 * (sizes[0] - sizes[1]) / halves[::2].size
    assert saved == pytest.approx(13, abs=0.2)


def test_the_number_of_threads_changes_nothing(tmp_path: Path) -> None:
    array = trained(np.random.default_rng(6), 700, 600).astype(np.float32)
    for threads in (1, 3):
        vc.compress({"x": array}, tmp_path / str(threads), codec="lossless", threads=threads)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "3").read_bytes()


ITEMS = np.random.default_rng(7).integers(0, 1 << 16, (6, 5)).astype(np.uint16)
ITEMS[2] &= 0xFFE1  # four zeros above the sign
VALUES = (ITEMS >> 1 | ITEMS << 15).view(np.float16)
FIELDS = SplitFields(
    low=9,
    origin=20,
    symbols=90,
    level=1,
    row_levels=[0, 1, 0, 2, 0, 0],
    column_levels=[0, 0, 1, 0, 3],
    row_zeros=[0, 0, 4, 0, 0, 0],
)


def archive_of(fields: SplitFields, values: Array = VALUES) -> bytes:
    section = lossless_section(split_tensor(ITEMS, fields))
    return Archive([], [(LOSSLESS, section)], [tensor("x", 4, values, 0)]).build()


@pytest.mark.parametrize(
    "fields",
    [
        FIELDS,
        replace(FIELDS, row_levels=None, level=0),
        replace(FIELDS, column_levels=None, row_zeros=None),
        SplitFields(low=1, origin=0, symbols=1),
        SplitFields(low=15, origin=0, symbols=2),
        SplitFields(low=4, origin=1, symbols=4095),
    ],
)
def test_files_written_by_hand_decode(fields: SplitFields) -> None:
    data = archive_of(fields)
    assert same(vc.decode(data)["x"], VALUES)
    assert same(reference.decode(data)["x"], VALUES)


FORBIDDEN = {
    "no low bits": ("low bits", replace(FIELDS, low=0, row_zeros=None)),
    "only low bits": ("low bits", replace(FIELDS, low=16, origin=0, symbols=1)),
    "symbols beyond the high bits": ("symbol", replace(FIELDS, origin=39)),
    "no symbols": ("symbol count", replace(FIELDS, symbols=0)),
    "unknown flag": ("flags", replace(FIELDS, flags=15)),
    "missing axes": ("count", replace(FIELDS, flags=0)),
    "high level": ("context level", replace(FIELDS, level=256)),
    "all low bits zero": ("zeros", replace(FIELDS, row_zeros=[0, 0, 9, 0, 0, 0])),
    "bits left over": ("bits", replace(FIELDS, tail=b"\0")),
    "set bits in the last byte": ("bits", replace(FIELDS, last_bits=0x80)),
    "symbols beyond the block": ("symbols", replace(FIELDS, coded_size=1 << 20)),
    "symbols cut": ("block", replace(FIELDS, coded_size=10)),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_the_format_forbids_is_refused(name: str) -> None:
    field, fields = FORBIDDEN[name]
    data = archive_of(fields)
    for decode in (vc.decode, reference.decode):
        with pytest.raises(ArchiveError, match=field):
            decode(data)


def test_only_floats_of_two_bytes_or_more_are_split() -> None:
    data = archive_of(FIELDS, ITEMS)
    for decode in (vc.decode, reference.decode):
        with pytest.raises(ArchiveError, match="form"):
            decode(data)
