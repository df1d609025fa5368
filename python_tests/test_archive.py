from __future__ import annotations

import struct
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vaecomp_native as vc
from vaecomp_native import _core, kernels, reference

from .archives import Sample, make_large_sample, make_sample

HEADER = 32


@pytest.fixture(scope="module")
def sample() -> Sample:
    return make_sample()


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        assert found[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_decode_gives_back_what_was_written_on_every_path(
    sample: Sample, isa: str, threads: int
) -> None:
    assert_same(vc.decode(sample.data, threads=threads), sample.arrays)


def test_reference_decodes_the_same_bytes(sample: Sample) -> None:
    assert_same(reference.decode(sample.data), sample.arrays)


class TestOut:
    def test_tensors_are_written_to_the_arrays_given(self, sample: Sample, isa: str) -> None:
        out = {name: np.empty_like(sample.arrays[name]) for name in ("head", "tied")}
        found = vc.decode(sample.data, out=out)
        assert_same(found, sample.arrays)
        assert found["head"] is out["head"]
        assert found["tied"] is out["tied"] and found["encoder.weight"] is out["tied"]

    def test_arrays_of_tensors_that_are_not_wanted_stay_as_they_are(self, sample: Sample) -> None:
        out = {"head": np.zeros_like(sample.arrays["head"])}
        assert list(vc.decode(sample.data, names=["tied"], out=out)) == ["tied"]
        assert not out["head"].any()

    def test_parts_of_larger_arrays_are_written(self, sample: Sample) -> None:
        weight = sample.arrays["encoder.weight"]
        block = np.zeros((3, *weight.shape), weight.dtype)
        vc.decode(sample.data, out={"encoder.weight": block[1]})
        assert block[1].tobytes() == weight.tobytes()
        assert not block[0].any() and not block[2].any()

    def test_what_does_not_fit_is_refused(self, sample: Sample) -> None:
        weight = sample.arrays["encoder.weight"]
        frozen = weight.copy()
        frozen.flags.writeable = False
        for array, message in (
            (np.empty(3, weight.dtype), r"out has .* \[3\] for 'encoder.weight', which is"),
            (np.empty(weight.shape, np.int64), "out has int64"),
            (np.empty(weight.shape[::-1], weight.dtype).T, "C-contiguous and writable"),
            (frozen, "C-contiguous and writable"),
        ):
            with pytest.raises(ValueError, match=message):
                vc.decode(sample.data, out={"encoder.weight": array})
        with pytest.raises(KeyError, match="absent"):
            vc.decode(sample.data, out={"absent": weight.copy()})
        with pytest.raises(ValueError, match="'tied' is tied"):
            vc.decode(sample.data, out={"encoder.weight": weight.copy(), "tied": weight.copy()})


def test_open_decodes_one_tensor_at_a_time(sample: Sample) -> None:
    with vc.open(sample.data) as archive:
        assert list(archive.keys()) == list(sample.arrays)
        assert "encoder.bias" in archive
        assert "nothing" not in archive
        for name in reversed(list(archive)):
            assert archive[name].tobytes() == sample.arrays[name].tobytes()
        with pytest.raises(KeyError, match="nothing"):
            archive["nothing"]
    with pytest.raises(ValueError, match="closed"):
        archive["encoder.bias"]


def test_names_choose_tensors_and_tied_ones_share_memory(sample: Sample) -> None:
    chosen = vc.decode(sample.data, names=["tied", "head", "encoder.weight"])
    assert list(chosen) == ["tied", "head", "encoder.weight"]
    assert chosen["tied"] is chosen["encoder.weight"]
    assert vc.decode(sample.data, names=[]) == {}
    with pytest.raises(KeyError, match="absent"):
        vc.decode(sample.data, names=["head", "absent"])


def test_info_counts_every_byte(sample: Sample) -> None:
    info = vc.verify(sample.data)
    parts = {name: size for name, size in info.bytes.items() if name != "total"}
    assert set(parts) == {"container", "decoder", "latents", "weights", "tables", "passthrough"}
    assert sum(parts.values()) == info.bytes["total"] == len(sample.data)
    own = {name: array for name, array in sample.arrays.items() if name != "tied"}
    assert info.parameters == sum(array.size for array in own.values())
    assert info.raw_bytes == sum(array.nbytes for array in own.values())
    assert info.ratio_self_contained == info.raw_bytes / len(sample.data)
    assert info.latent_numbers == (70 + 3 + 4) * 6
    assert info.metadata == {"format": "pt", "ключ": "值"}
    assert info.bytes["weights"] > 0
    codecs = {tensor.codec for tensor in info.tensors}
    assert codecs == {"raw", "latent", "quantized", "lossless", "alias"}
    tied = info.tensors[-1]
    assert (tied.codec, tied.alias_of, tied.shape) == ("alias", "encoder.weight", (30, 50))


def test_many_threads_read_one_archive(sample: Sample) -> None:
    failures: list[BaseException] = []
    with vc.open(sample.data, threads=2) as archive:

        def read() -> None:
            try:
                for name, array in sample.arrays.items():
                    assert archive[name].tobytes() == array.tobytes()
            except BaseException as error:
                failures.append(error)

        workers = [threading.Thread(target=read) for _ in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert not failures


def test_every_truncation_is_an_archive_error(sample: Sample) -> None:
    for size in range(len(sample.data)):
        with pytest.raises(vc.ArchiveError, match=r"at offset \d+"):
            vc.decode(sample.data[:size])


@given(st.data())
def test_verify_sees_any_flipped_bit(data: st.DataObject) -> None:
    good = make_sample().data
    changed = bytearray(good)
    bit = data.draw(st.integers(0, len(good) * 8 - 1))
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(vc.ArchiveError):
        vc.verify(changed)


@given(st.data())
def test_native_and_reference_agree_on_damaged_files(data: st.DataObject) -> None:
    """Bytes changed under valid checksums: both decoders refuse, or both give the same arrays."""
    changed = bytearray(make_sample().data)
    index_bytes = struct.unpack_from("<I", changed, 12)[0]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(HEADER, HEADER + index_bytes - 1))
        changed[at] = data.draw(st.integers(0, 255))
    reseal(changed)
    try:
        expected = reference.decode(bytes(changed))
    except vc.ArchiveError:
        with pytest.raises(vc.ArchiveError):
            vc.verify(changed)
    else:
        assert_same(vc.decode(changed), expected)


@pytest.fixture(scope="module")
def blocks() -> Sample:
    return make_large_sample()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_tensors_of_many_blocks(blocks: Sample, isa: str, threads: int) -> None:
    assert_same(vc.decode(blocks.data, threads=threads), blocks.arrays)
    with vc.open(blocks.data, threads=threads) as archive:
        for name in ("small.9", "wide", "behind", "plain"):
            assert_same({name: archive[name]}, {name: blocks.arrays[name]})


@pytest.mark.slow
def test_reference_decodes_many_blocks(blocks: Sample) -> None:
    assert_same(reference.decode(blocks.data), blocks.arrays)


def test_only_wanted_blocks_are_decoded(blocks: Sample) -> None:
    """With a byte of the last residual block changed, tensors of the other blocks still decode."""
    size = vc.open(blocks.data).info.bytes
    end = size["container"] + size["weights"] + size["tables"]
    changed = bytearray(blocks.data)
    changed[end - 100] ^= 1
    for name in ("before", "tall", "small.0"):
        decoded = vc.decode(changed, names=[name])
        assert_same(decoded, {name: blocks.arrays[name]})
    with pytest.raises(vc.ArchiveError, match="block at offset"):
        vc.decode(changed, names=["behind"])


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(vc.ArchiveError):
        vc.decode(data)


def test_magic_and_version_are_named() -> None:
    data = bytearray(make_sample().data)
    data[0] = 0
    with pytest.raises(vc.ArchiveError, match="magic at offset 0"):
        vc.decode(data)
    data = bytearray(make_sample().data)
    data[8] = 2
    with pytest.raises(vc.UnsupportedVersionError, match="version 2"):
        vc.decode(data)


def test_absurd_claims_fail_without_allocating() -> None:
    """A file of some hundred bytes that claims terabytes."""
    index = b"\x00" + b"\x01" + b"\x01\x00\x02" + struct.pack("<I", kernels.crc32c(b"ab"))
    shape = b"\x80\x80\x80\x80\x80\x02"  # 2^36
    for rows in (
        b"\x01\x00\x01x\x00\x01\x01" + shape + b"\x00" + bytes(8),
        b"\x01\x00\x01x\x00\x01\x02" + shape + shape + b"\x00" + bytes(8),
    ):
        with pytest.raises(vc.ArchiveError, match="tensor shape at offset"):
            vc.open(seal(index + rows, b"ab"))
    with pytest.raises(vc.ArchiveError, match="tensor name at offset"):
        vc.open(seal(index + b"\xff\xff\xff\x07", b"ab"))
    with pytest.raises(vc.ArchiveError, match="section count at offset"):
        vc.open(seal(b"\x00\xff\xff\xff\xff\x7f", b""))


def test_a_small_file_cannot_ask_for_hours_of_work() -> None:
    """A decoder of zeros takes no bytes to speak of; a file of 9 kB would take 2^38 products."""
    width, chunks = 2**15, 2**22
    ones = np.ones(width, np.int32)
    hidden = (np.zeros((width, 1), np.int8), 0 * ones, ones, ones.astype(np.uint8))
    last = (np.zeros((1, width), np.int8), np.zeros(1, np.int32), np.ones(1, np.float32))
    values = np.zeros(chunks, np.float32)
    z = np.zeros((chunks, 1), np.int8)
    sections = [
        ("integer_decoder", _core.encode_integer_decoder([hidden, last], [[width], [width]])),
        ("latents", _core.encode_int8_latents(0, 1, 0, z, [chunks])),
    ]
    row = ("w", "latent", values.shape, values.dtype, 1, kernels.digest(values))
    data = _core.write_archive([], sections, [row])
    assert len(data) < 10_000
    for decode in (vc.decode, reference.decode):
        with pytest.raises(vc.ArchiveError, match="chunk count at offset"):
            decode(data)


def seal(index: bytes, section: bytes) -> bytes:
    """A whole file around an index and the bytes of its one section."""
    padding = -(HEADER + len(index)) % 64 if section else 0
    size = HEADER + len(index) + padding + len(section)
    head = b"\x89VAEC\r\n\x1a" + struct.pack("<HHIQ", 1, 0, len(index), size) + bytes(8)
    data = bytearray(head + index + bytes(padding) + section)
    reseal(data)
    return bytes(data)


def reseal(data: bytearray) -> None:
    index_bytes = struct.unpack_from("<I", data, 12)[0]
    crc = kernels.crc32c(bytes(data[HEADER : HEADER + index_bytes]))
    struct.pack_into("<I", data, 24, crc)
    struct.pack_into("<I", data, 28, kernels.crc32c(bytes(data[:28])))


def test_tensors_one_by_one_are_those_of_all_at_once(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    arrays = {f"t{i}": generator.standard_normal((3, i % 5), np.float32) for i in range(300)}
    arrays["tied"] = arrays["t7"]
    vc.compress(arrays, tmp_path / "m.vaec", codec="lossless")
    with vc.open(tmp_path / "m.vaec") as archive:
        for order in (list(arrays), list(reversed(arrays)), ["t5", "t6", "t6", "t7", "tied", "t8"]):
            for name in order:
                array = archive[name]
                assert array.tobytes() == arrays[name].tobytes()
                array[...] = 0  # which belongs to whoever asked for it
        list(map(archive.__getitem__, ["t1", "t2"]))
    with pytest.raises(ValueError, match="closed"):
        archive["t3"]


def test_a_damaged_tensor_hinders_no_other(tmp_path: Path) -> None:
    arrays = {f"t{i}": np.arange(5000, dtype=np.float32) + i for i in range(4)}
    vc.compress(arrays, tmp_path / "m.vaec", codec="raw")
    data = bytearray((tmp_path / "m.vaec").read_bytes())
    data[-1] ^= 1
    archive = vc.open(bytes(data))
    for name in ("t0", "t1", "t2"):
        assert archive[name].tobytes() == arrays[name].tobytes()
    with pytest.raises(vc.ArchiveError, match="t3"):
        archive["t3"]
