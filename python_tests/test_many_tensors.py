"""Thousands of small tensors: the same results as one by one, and archives read in batches."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vaecomp_native as vc
from vaecomp_native import archive as archives
from vaecomp_native import reference
from vaecomp_native.compression.bunched import BunchedOperator
from vaecomp_native.compression.estimates import lossless_bytes
from vaecomp_native.compression.operators import cost_of_all, data_free_operator
from vaecomp_native.quantization.bunch import Bunch, values_of
from vaecomp_native.quantization.contexts import fit_contexts
from vaecomp_native.quantization.matrix import QuantizedMatrix

SHAPES = st.lists(
    st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple), min_size=1, max_size=12
)


def drawn(shapes: list[tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    scales = np.exp(rng.normal(size=len(shapes)))
    return {
        f"t{i}": (scale * rng.standard_normal(shape)).astype(np.float32)
        for i, (shape, scale) in enumerate(zip(shapes, scales, strict=True))
    }


@given(SHAPES)
def test_a_bunch_knows_where_each_element_lies(shapes: list[tuple[int, ...]]) -> None:
    matrices = [np.empty((shape[0], int(np.prod(shape[1:])))) for shape in shapes]
    bunch = Bunch([one.shape for one in matrices])
    places = [
        (number, row, column)
        for number, one in enumerate(matrices)
        for row, column in itertools.product(*map(range, one.shape))
    ]
    row_first, column_first = bunch.first_rows, bunch.first_columns
    assert [(row_first[m] + i, column_first[m] + j) for m, i, j in places] == list(
        zip(bunch.row.tolist(), bunch.column.tolist(), strict=True)
    )
    assert (np.diff(bunch.column[bunch.by_column]) >= 0).all()
    numbers = np.arange(len(places))
    for one, part in zip(matrices, bunch.split(numbers), strict=True):
        assert part.shape == one.shape
    assert np.concatenate([one.ravel() for one in bunch.split(numbers)]).tolist() == list(numbers)


@given(SHAPES, st.integers(0, 2**32 - 1), st.data())
def test_values_of_many_matrices_are_those_of_each(
    shapes: list[tuple[int, ...]], seed: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    matrices = []
    for shape in shapes:
        rows, columns = shape[0], int(np.prod(shape[1:]))
        axes = [
            rng.integers(-32, 33, length).astype(np.int8) if data.draw(st.booleans()) else None
            for length in (rows, columns)
        ]
        symbols = rng.integers(-2047, 2048, (rows, columns)).astype(np.int16)
        step = float(2.0 ** rng.integers(-90, 60))
        matrices.append(QuantizedMatrix(symbols, step, None, *axes))
    for found, one in zip(values_of(matrices), matrices, strict=True):
        assert found.dtype == np.float32 and found.shape == one.symbols.shape
        assert found.tobytes() == one.values().tobytes()


@given(SHAPES, st.integers(0, 2**32 - 1), st.floats(1e-3, 0.3))
def test_steps_of_small_tensors_are_those_that_each_has_by_itself(
    shapes: list[tuple[int, ...]], seed: int, rate_weight: float
) -> None:
    arrays = {name: array for name, array in drawn(shapes, seed).items() if array.size > 1}
    if not arrays:
        return
    operator = BunchedOperator.of(arrays)
    costs = operator.costs(arrays)
    quantized = operator.quantize(operator.matrix(arrays), rate_weight, "feedback", 1)
    assert list(quantized) == list(arrays)
    for number, (name, array) in enumerate(arrays.items()):
        alone = data_free_operator(name, array)
        assert costs[number] == pytest.approx(cost_of_all(alone, arrays))
        matrix = alone.matrix(arrays)
        one = alone.quantize(matrix, rate_weight, "feedback", 1)[name]
        found = quantized[name]
        assert found.symbols.shape == one.symbols.shape
        # Sums of squares may differ in the last bit, and with them where a step is rounded to.
        assert found.step == pytest.approx(one.step, rel=2**-7)
        # Which of two neighbours is taken, or zero, depends on what symbols cost.
        reach = found.step * 2.0 ** (np.abs(_exponents(found)).max() / 2)
        assert np.abs(found.values() - matrix).max() <= max(
            2 * reach, np.abs(one.values() - matrix).max() + reach
        )


def _exponents(matrix: QuantizedMatrix) -> np.ndarray:
    return np.zeros(1) if matrix.row_exponents is None else matrix.row_exponents.astype(float)


def test_tensors_that_no_step_can_hold_leave_the_others_alone() -> None:
    arrays = drawn([(5, 6), (7,), (4, 4)], 0)
    operator = BunchedOperator.of(arrays)
    values = operator.matrix(arrays)
    values[31] = 1e9
    found = operator.quantize(values, 0.01, "feedback", 1)
    assert set(found) == {"t0", "t2"}
    fewer = operator.within({"t0", "t2"})
    assert fewer is not None
    alone = fewer.quantize(fewer.matrix(arrays), 0.01, "feedback", 1)
    for name in alone:
        assert found[name].values().tobytes() == alone[name].values().tobytes()
    values[:] = 1e9
    assert not operator.quantize(values, 1e-9, "feedback", 1)


@given(SHAPES, st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 10]))
def test_levels_of_many_matrices_stay_within_the_tables(
    shapes: list[tuple[int, ...]], seed: int, tables: int
) -> None:
    rng = np.random.default_rng(seed)
    matrices = [
        rng.integers(-9, 10, (40 * shape[0], int(np.prod(shape[1:])))).astype(np.int8)
        for shape in shapes
    ]
    found = fit_contexts(matrices, tables).levels
    for matrix, context in zip(matrices, found, strict=True):
        for axis, levels in enumerate((context.rows, context.columns)):
            assert levels is None or len(levels) == matrix.shape[axis]
            assert levels is None or (levels.any() and not levels.all())
        assert 0 <= context.level < tables


@settings(max_examples=15, deadline=None)
@given(SHAPES, st.integers(0, 2**32 - 1), st.sampled_from(["auto", "quantized", "lossless"]))
def test_both_paths_decode_small_tensors_alike(
    tmp_path_factory: pytest.TempPathFactory,
    shapes: list[tuple[int, ...]],
    seed: int,
    codec: str,
) -> None:
    arrays = drawn(shapes * 5, seed)
    path = tmp_path_factory.mktemp("many") / "w.vaec"
    report = vc.compress(arrays, path, codec=codec)
    decoded, expected = vc.decode(path), reference.decode(path.read_bytes())
    error = energy = 0.0
    for name, array in arrays.items():
        assert decoded[name].tobytes() == expected[name].tobytes()
        error += float(np.square(decoded[name].astype(float) - array).sum())
        energy += float(np.square(array.astype(float)).sum())
    assert report.relative_error == pytest.approx(error / energy, rel=1e-6)


@pytest.mark.parametrize("shape", [(4, 4), (16,), (3, 1, 2)])
def test_many_tiny_tensors_get_the_bits_that_were_asked_for(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    """Not zeros alone: their tables are shared, and so is what these cost."""
    arrays = drawn([shape] * 600, 0)
    report = vc.compress(arrays, tmp_path / "w.vaec", codec="quantized")
    assert report.relative_error < 0.005
    heads = 4 * len(arrays)
    coded = report.info.bytes["weights"] + report.info.bytes["tables"] - heads
    assert coded < 5.5 / 8 * sum(array.size for array in arrays.values()) + 1000


# Estimates


@given(
    st.lists(st.sampled_from(["normal", "grid", "zeros", "half", "ids", "bytes", "complex"])),
    st.integers(1, 300),
    st.integers(0, 2**32 - 1),
)
def test_estimates_are_near_what_the_lossless_codec_makes(
    kinds: list[str], size: int, seed: int
) -> None:
    from vaecomp_native.codecs.lossless import encode_lossless

    rng = np.random.default_rng(seed)
    kind_of = {
        "normal": lambda: rng.standard_normal((size, 20)).astype(np.float32),
        "grid": lambda: (rng.integers(0, 16, (size, 20)) / 16).astype(np.float64),
        "zeros": lambda: np.zeros((size, 7), np.float32),
        "half": lambda: rng.standard_normal(3 * size).astype(np.float16),
        "ids": lambda: np.arange(size),
        "bytes": lambda: rng.integers(0, 9, size).astype(np.int8),
        "complex": lambda: rng.standard_normal(size).astype(np.complex64),
    }
    arrays = {f"{i}": kind_of[kind]() for i, kind in enumerate(kinds)}
    made = encode_lossless(arrays).size()
    planes = sum(array.itemsize for array in arrays.values())
    assert lossless_bytes(arrays) == pytest.approx(made, rel=0.05, abs=64 + 16 * planes)


def test_samples_stand_for_large_tensors_and_for_many() -> None:
    from vaecomp_native.codecs.lossless import encode_lossless

    rng = np.random.default_rng(0)
    large = rng.standard_normal((1000, 500)).astype(np.float32)
    for arrays in (
        {"x": large},
        {"x": large.T},
        {f"{i}": rng.integers(0, 5, 200) for i in range(1500)},
    ):
        made = encode_lossless(arrays).size()
        assert lossless_bytes(arrays) == pytest.approx(made, rel=0.05)
    # Pieces hold few of the values of such a tensor: then the estimate is too low, not too high.
    repeated = {"x": np.repeat(large[:, :1], 500, 1)}
    made = encode_lossless(repeated).size()
    assert 0.8 * made < lossless_bytes(repeated) < 1.05 * made


# Reading one after another


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "BATCH_BYTES", 2000)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """300 tensors: some tied from one end to the other, some empty, one larger than a batch."""
    arrays = drawn([(4, 4)] * 300, 0)
    arrays["t7"] = np.zeros((0, 3), np.float32)
    arrays["t150"] = np.arange(1000.0)
    arrays["t299"] = arrays["t8"] = arrays["t0"]
    arrays["t20"] = arrays["t19"]
    vc.compress(arrays, tmp_path / "many.vaec", codec="lossless")
    return tmp_path / "many.vaec"


@pytest.mark.usefixtures("small_batches")
def test_items_and_values_are_what_decode_gives(many: Path) -> None:
    expected = vc.decode(many)
    with vc.open(many) as archive:
        found = list(archive.items())
        values = list(archive.values())
        assert len(archive.items()) == len(archive.values()) == 300
    assert [name for name, _ in found] == list(expected)
    for (name, array), value in zip(found, values, strict=True):
        assert array.tobytes() == value.tobytes() == expected[name].tobytes()
        assert (array.shape, array.dtype) == (expected[name].shape, expected[name].dtype)
        assert array.flags.writeable
    by_name = dict(found)
    for names in (("t0", "t8", "t299"), ("t19", "t20")):
        assert len({id(by_name[name]) for name in names}) == 1
    assert len({id(array) for array in by_name.values()}) == 300 - 3


@pytest.mark.usefixtures("small_batches")
def test_a_batch_holds_no_more_than_it_may_and_nothing_is_decoded_twice(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    decode = vc.Archive.decode

    def watched(self: vc.Archive, names: list[str], **options: object) -> dict[str, np.ndarray]:
        asked.append(names)
        return decode(self, names, **options)

    sizes = {name: array.nbytes for name, array in vc.decode(many).items()}
    monkeypatch.setattr(vc.Archive, "decode", watched)
    with vc.open(many) as archive:
        next(iter(archive.items()))
        assert len(asked) == 1
        asked.clear()
        assert sum(1 for _ in archive.values()) == 300
    for batch in asked:
        assert sum(sizes[name] for name in batch) <= 2000 or len(batch) == 1
    everything = [name for batch in asked for name in batch]
    assert len(everything) == len(set(everything)) == 300 - 3
    assert len(asked) < 30


def test_a_closed_archive_stops_the_iteration(many: Path) -> None:
    archive = vc.open(many)
    archive.close()
    with pytest.raises(ValueError, match="closed"):
        next(iter(archive.items()))


def test_items_of_nothing(tmp_path: Path) -> None:
    vc.compress({}, tmp_path / "w.vaec")
    assert list(vc.open(tmp_path / "w.vaec").items()) == []
