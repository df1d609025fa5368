"""Where archives are read from, and how little of them is read."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vaecomp_native as vc
from vaecomp_native import _core
from vaecomp_native.io.sources import Source
from vaecomp_native.kernels import crc32c

from .archives import Sample, make_large_sample, make_sample

SAMPLES = {"small": make_sample(), "large": make_large_sample()}
SMALL, LARGE = SAMPLES["small"], SAMPLES["large"]


@pytest.fixture(params=SAMPLES)
def sample(request: pytest.FixtureRequest) -> Sample:
    return SAMPLES[request.param]


@pytest.fixture
def path(sample: Sample, tmp_path: Path) -> Path:
    path = tmp_path / "model.vaec"
    path.write_bytes(sample.data)
    return path


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        assert found[name].tobytes() == array.tobytes(), name


class Unseekable(io.RawIOBase):
    """A stream that gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._file.read(min(size, 1000) if size >= 0 else size)


@pytest.mark.parametrize("threads", [1, 3])
def test_every_kind_of_source_is_read(sample: Sample, path: Path, threads: int) -> None:
    data = sample.data
    sources: list[Source] = [path, str(path), path.as_uri(), data, bytearray(data)]
    sources += [memoryview(data), io.BytesIO(data), Unseekable(data)]
    for source in sources:
        assert_same(vc.decode(source, threads=threads), sample.arrays)
    with path.open("rb") as file:
        assert_same(vc.decode(file, threads=threads), sample.arrays)
    assert_same(vc.decode(path, threads=threads, mmap=True), sample.arrays)


@pytest.mark.parametrize("source", ["path", "file", "bytes", "url"])
def test_verify_reads_every_source(sample: Sample, path: Path, source: str) -> None:
    url = "memory://verified.vaec"
    fsspec.filesystem("memory").pipe("/verified.vaec", sample.data)
    sources: dict[str, Callable[[], Source]] = {
        "path": lambda: path,
        "file": lambda: io.BytesIO(sample.data),
        "bytes": lambda: sample.data,
        "url": lambda: url,
    }
    info = vc.verify(sources[source]())
    assert info.bytes["total"] == len(sample.data)


def test_files_can_be_mapped(path: Path, sample: Sample, tmp_path: Path) -> None:
    with vc.open(path, mmap=True) as archive:
        path.unlink()
        assert_same(archive.decode(), sample.arrays)
    empty = tmp_path / "empty"
    empty.touch()
    for mmap in (True, False):
        with pytest.raises(vc.ArchiveError):
            vc.decode(empty, mmap=mmap)


def test_urls_are_read_by_ranges(sample: Sample) -> None:
    fsspec.filesystem("memory").pipe("/model.vaec", sample.data)
    with vc.open("memory://model.vaec") as archive:
        assert_same(archive.decode(), sample.arrays)
        for name in list(sample.arrays)[:5]:
            assert archive[name].tobytes() == sample.arrays[name].tobytes()
    with pytest.raises(FileNotFoundError):
        vc.open("memory://missing.vaec")


def test_a_file_object_begins_where_it_stands(sample: Sample) -> None:
    file = io.BytesIO(b"something else" + sample.data)
    file.seek(14)
    with vc.open(file) as archive:
        assert_same(archive.decode(), sample.arrays)


def test_a_stream_keeps_what_follows(sample: Sample) -> None:
    stream = Unseekable(sample.data + b"next")
    assert_same(vc.decode(stream), sample.arrays)
    assert stream.read() == b"next"


def test_pipes_are_read(sample: Sample, tmp_path: Path) -> None:
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(sample.data)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(reading, "rb") as pipe:
        assert_same(vc.decode(pipe), sample.arrays)
    writer.join()
    named = tmp_path / "pipe"
    os.mkfifo(named)
    writer = threading.Thread(target=named.write_bytes, args=(sample.data,))
    writer.start()
    assert_same(vc.decode(named), sample.arrays)
    writer.join()


def test_streams_that_end_or_are_none_are_refused() -> None:
    for data in (b"", SMALL.data[:20], SMALL.data[:-1], b"PK" + SMALL.data[2:]):
        with pytest.raises(vc.ArchiveError):
            vc.decode(Unseekable(data))


def test_a_stream_that_claims_a_terabyte_takes_what_comes() -> None:
    header = bytearray(SMALL.data[:32])
    header[16:24] = (1 << 40).to_bytes(8, "little")
    header[28:32] = crc32c(bytes(header[:28])).to_bytes(4, "little")
    assert _core.archive_bytes(bytes(header)) == 1 << 40
    with pytest.raises(vc.ArchiveError, match="file size at offset 16"):
        vc.decode(Unseekable(bytes(header) + SMALL.data[32:]))


def test_files_that_cannot_be_opened_say_why(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.vaec"):
        vc.open(tmp_path / "missing.vaec")
    with pytest.raises(IsADirectoryError):
        vc.decode(tmp_path)


def test_a_file_cut_short_while_it_is_open_is_an_error(path: Path) -> None:
    with vc.open(path) as archive:
        os.truncate(path, 5000)
        with pytest.raises(OSError, match="has changed since it was opened"):
            archive.decode()


def test_what_a_file_object_raises_comes_through() -> None:
    class Failing(io.BytesIO):
        fails = False

        def read(self, size: int | None = -1) -> bytes:
            if self.fails:
                raise ConnectionError("the network is gone")
            return super().read(size)

    file = Failing(LARGE.data)
    with vc.open(file, threads=3) as archive:
        file.fails = True
        with pytest.raises(ConnectionError, match="gone"):
            archive.decode()
        file.fails = False
        assert_same(archive.decode(), LARGE.arrays)
        file.truncate(len(LARGE.data) - 1000)
        with pytest.raises(OSError, match="shorter than it was"):
            archive.decode()


def test_urls_need_fsspec(tmp_path: Path) -> None:
    (tmp_path / "fsspec").mkdir()
    (tmp_path / "fsspec" / "__init__.py").write_text("raise ModuleNotFoundError(name='fsspec')")
    code = "import vaecomp_native as vc; vc.open('memory://model.vaec')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "pip install 'vaecomp_native[remote]'" in done.stderr.splitlines()[-1]


def counted(data: bytes) -> tuple[_core.ArchiveReader, list[tuple[int, int]]]:
    """A reader, and the (offset, size) of what it has asked for."""
    requests: list[tuple[int, int]] = []

    def read(offset: int, size: int) -> bytes:
        requests.append((offset, size))
        return data[offset : offset + size]

    return _core.ArchiveReader.from_function(len(data), 1 << 16, read), requests


def test_no_more_is_read_than_needed() -> None:
    reader, requests = counted(LARGE.data)
    names = [row[0] for row in reader.tensors()]
    assert sum(size for _, size in requests) <= 1 << 14
    for name, part in (("before", 0.2), ("behind", 0.25), ("plain", 0.4)):
        requests.clear()
        array = np.empty_like(LARGE.arrays[name])
        reader.decode([(names.index(name), 0, array)])
        assert array.tobytes() == LARGE.arrays[name].tobytes()
        assert sum(size for _, size in requests) < part * len(LARGE.data)
    requests.clear()
    rows = np.empty((2, *LARGE.arrays["tall"].shape[1:]), LARGE.arrays["tall"].dtype)
    reader.decode([(names.index("tall"), 100 * 5, rows)])
    assert rows.tobytes() == LARGE.arrays["tall"][5:7].tobytes()
    assert len(requests) == 1


def test_neighbouring_blocks_come_in_one_request() -> None:
    reader, requests = counted(LARGE.data)
    reader.verify()
    # The largest block has 131,072 items of four bytes.
    assert max(size for _, size in requests) <= 4 * 131_072
    assert sum(size for _, size in requests) < 2.5 * len(LARGE.data)


ROWED = [
    (which, name)
    for which, sample in SAMPLES.items()
    for name, array in sample.arrays.items()
    if array.ndim > 0
]


@given(
    tensor=st.sampled_from(ROWED),
    start=st.none() | st.integers(-10, 2000),
    stop=st.none() | st.integers(-10, 2000),
)
def test_rows_are_those_of_the_whole_tensor(
    isa: str, tensor: tuple[str, str], start: int | None, stop: int | None
) -> None:
    which, name = tensor
    sample = SAMPLES[which]
    with vc.open(sample.data) as archive:
        rows = archive.rows(name, start, stop)
    expected = sample.arrays[name][start:stop]
    assert (rows.shape, rows.dtype) == (expected.shape, expected.dtype)
    assert rows.tobytes() == expected.tobytes()


def test_rows_of_every_tensor_from_every_source(sample: Sample, path: Path) -> None:
    def both(source: Source) -> None:
        with vc.open(source) as archive:
            for name, array in sample.arrays.items():
                if array.ndim > 0:
                    middle = len(array) // 2
                    parts = (archive.rows(name, 0, middle), archive.rows(name, middle))
                    assert np.concatenate(parts).tobytes() == array.tobytes(), name

    both(path)
    both(io.BytesIO(sample.data))
    both(sample.data)


def test_rows_that_cannot_be_are_refused() -> None:
    with vc.open(SMALL.data) as archive:
        with pytest.raises(KeyError, match="no tensor 'missing'"):
            archive.rows("missing")
        with pytest.raises(ValueError, match="no dimensions"):
            archive.rows("scalar", 0, 1)


def test_changed_bytes_are_seen_in_rows_as_well() -> None:
    """Of a raw tensor, too, of which nothing but the whole has a checksum."""
    for name in ("exact.float32", "planes.float32", "gru.weight", "sum.weight", "encoder.weight"):
        array = SMALL.arrays[name]
        expected = array[: len(array) // 2].tobytes()
        for at in range(4000, len(SMALL.data), 7):
            changed = bytearray(SMALL.data)
            changed[at] ^= 1
            try:
                with vc.open(changed) as archive:
                    found = archive.rows(name, 0, len(array) // 2)
            except vc.ArchiveError:
                continue
            assert found.tobytes() == expected, (name, at)
