"""Packs and members as files: native and reference decoding, and what the format forbids."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vaecomp_native as vc
from vaecomp_native import _core
from vaecomp_native.kernels import digest
from vaecomp_native.reference.archive import decode as reference_decode
from vaecomp_native.reference.archive import decode_contents, decode_member, read_contents
from vaecomp_native.reference.checks import crc32c
from vaecomp_native.reference.rans import varint

from .archive_writer import parameter
from .fleets import COMMON, LOCAL, Arrays, make_member, make_pack

PACK = make_pack()
HASH = hashlib.sha256(PACK.data).digest()
MEMBER = make_member(PACK)
# As the reference holds an open pack: reading it takes longer than decoding a member.
CONTENTS = read_contents(PACK.data, None)
BASE = decode_contents(CONTENTS, {}, {})
OPEN_PACK = vc.open(PACK.data)


def sealed(data: bytes, position: int, value: bytes) -> bytes:
    """A file with other bytes in its index, and checksums that fit."""
    changed = bytearray(data)
    changed[position : position + len(value)] = value
    (size,) = struct.unpack_from("<I", changed, 12)
    changed[24:28] = struct.pack("<I", crc32c(bytes(changed[32 : 32 + size])))
    changed[28:32] = struct.pack("<I", crc32c(bytes(changed[:28])))
    return bytes(changed)


def reference_decoded(data: bytes) -> Arrays:
    """A file of this module by the reference, be it a member or a changed pack."""
    if data[10] == 1:
        return decode_member(data, CONTENTS, BASE)
    return reference_decode(data)


def verified(data: bytes, pack: vc.Archive | bytes = OPEN_PACK) -> Arrays:
    """All tensors of a file, whose sections are all read, those that no tensor needs too."""
    with vc.open(data, pack=pack) as archive:
        archive.verify()
        return archive.decode()


def test_a_pack_is_an_archive_of_the_base() -> None:
    with vc.open(PACK.data) as archive:
        archive.verify()
        assert archive.sha256 == HASH.hex()
        assert archive.pack_sha256 is None
        assert sum(archive.info.bytes.values()) == 2 * len(PACK.data)
        for name, array in PACK.arrays.items():
            assert archive[name].tobytes() == array.tobytes()
    assert reference_decode(PACK.data)["weight"].tobytes() == PACK.arrays["weight"].tobytes()


def test_a_member_is_made_of_its_pack() -> None:
    reference = reference_decode(MEMBER.data, PACK.data)
    with vc.open(MEMBER.data, pack=PACK.data) as archive:
        archive.verify()
        assert archive.pack_sha256 == HASH.hex()
        assert list(archive) == list(reference) == list(PACK.arrays)
        codecs = [tensor.codec for tensor in archive.info.tensors]
        assert codecs == ["member", "quantized", "shared", "raw", "alias"]
        assert archive.info.bytes["total"] == len(MEMBER.data)
        for name, array in MEMBER.arrays.items():
            assert archive[name].dtype == reference[name].dtype == array.dtype
            assert archive[name].tobytes() == reference[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("name", ["weight", "half", "bias", "steps"])
def test_rows_of_a_member(name: str) -> None:
    with vc.open(MEMBER.data, pack=PACK.data) as archive:
        array = MEMBER.arrays[name]
        for first, last in ((0, 1), (1, 4), (2, len(array)), (3, 3)):
            rows = archive.rows(name, first, last)
            assert rows.tobytes() == np.ascontiguousarray(array[first:last]).tobytes()


@given(st.integers(0, 2**32 - 1))
def test_members_of_any_latents(seed: int) -> None:
    member = make_member(PACK, seed)
    decoded = vc.decode(member.data, pack=OPEN_PACK)
    reference = reference_decoded(member.data)
    for name, array in member.arrays.items():
        assert decoded[name].tobytes() == reference[name].tobytes() == array.tobytes()


def test_many_members_share_a_pack_that_is_open(tmp_path: Path) -> None:
    path = tmp_path / "fleet.vaepack"
    path.write_bytes(PACK.data)
    pack = vc.open(path)
    members = [make_member(PACK, seed) for seed in range(5)]
    archives = [vc.open(member.data, pack=pack) for member in members]
    pack.close()  # members keep what they need
    for member, archive in zip(members, archives, strict=True):
        assert archive["weight"].tobytes() == member.arrays["weight"].tobytes()


def test_latents_are_stored_in_the_shorter_form() -> None:
    likely = np.zeros(COMMON + LOCAL, np.int8)
    assert PACK.reader.encode_member(likely)[0] == 0  # too few to be coded
    fleet = _core.encode_fleet([(400, -1, [1, 50, 1])], [])
    pack = _core.ArchiveReader(_core.write_archive([], [("fleet", fleet)], []))
    many = np.zeros(400, np.int8)
    assert pack.encode_member(many)[0] == 1
    assert len(pack.encode_member(many)) < 100
    many[7] = 5  # which the table does not have
    assert pack.encode_member(many) == b"\0" + many.tobytes()
    with pytest.raises(ValueError, match="400 latents"):
        pack.encode_member(likely)


def test_a_pack_says_how_members_are_made() -> None:
    latents, segments, groups = PACK.reader.fleet()
    assert latents == COMMON + LOCAL
    assert [(length, first, len(table)) for length, first, table in segments] == [
        (COMMON, -20, 41),
        (LOCAL, -128, 256),
    ]
    assert all(sum(table) == 2**12 for _, _, table in segments)
    for (layers, chunk_length, *_), decoder in zip(groups, PACK.decoders, strict=True):
        assert chunk_length == decoder.chunk_length
        for found, layer in zip(layers, decoder.layers, strict=True):
            for array, own in zip(found, layer.arrays(), strict=True):
                assert array.dtype == own.dtype
                np.testing.assert_array_equal(array, own)
    assert [(slices, tensors) for *_, slices, tensors, _ in groups] == [
        ([(0, COMMON), (COMMON, LOCAL)], [0]),
        ([(0, COMMON)], [1]),
    ]
    np.testing.assert_array_equal(groups[0][-1], PACK.position)
    assert groups[1][-1].shape == (1, 0)


def test_what_is_no_pack_makes_no_members() -> None:
    plain = _core.ArchiveReader(_core.write_archive([], [], []))
    member = _core.ArchiveReader(MEMBER.data, pack=PACK.reader)
    for reader in (plain, member):
        with pytest.raises(ValueError, match="no pack"):
            reader.fleet()
        with pytest.raises(ValueError, match="no pack"):
            reader.encode_member(np.zeros(0, np.int8))
        with pytest.raises(ValueError, match="no pack"):
            reader.write_member([], [], [])


def test_another_pack_or_none_is_an_error_that_names_the_right_one() -> None:
    for pack in (None, make_pack(3).data):
        with pytest.raises(vc.MissingPackError, match=HASH.hex()):
            vc.decode(MEMBER.data, pack=pack)
        with pytest.raises(vc.MissingPackError, match=HASH.hex()):
            reference_decode(MEMBER.data, pack)


def test_a_file_that_is_no_member_needs_no_pack() -> None:
    assert vc.decode(PACK.data, pack=make_pack(3).data)["bias"].tobytes() == (
        PACK.arrays["bias"].tobytes()
    )


def test_an_archive_without_a_fleet_has_no_members() -> None:
    plain = _core.write_archive([], [], [])
    data = sealed(MEMBER.data, 32, hashlib.sha256(plain).digest())
    for decode in (verified, reference_decode):
        with pytest.raises(vc.ArchiveError, match="no fleet"):
            decode(data, plain)


def wide_pack(decoder: bytes, outputs: int, elements: int) -> bytes:
    """A pack of one vector of zeros, with a decoder of one latent that has so many outputs."""
    base = np.zeros(elements, np.float32)
    group = (1, outputs, [(0, 1)], [0], np.zeros((1, 0), np.int8))
    sections = [
        ("lossless", _core.encode_lossless([base])),
        ("integer_decoder", decoder),
        ("fleet", _core.encode_fleet([(1, -128, [1] * 256)], [group])),
    ]
    row = ("weight", "lossless", base.shape, base.dtype, 0, digest(base))
    return _core.write_archive([], sections, [row])


def test_a_decoder_has_an_output_for_each_of_millions_of_elements() -> None:
    count = 3_000_000
    weight, bias = np.ones((count, 1), np.int8), np.zeros(count, np.int32)
    layer = (weight, bias, np.full(count, 0.5, np.float32))
    pack = wide_pack(_core.encode_integer_decoder([layer], [[count]]), count, count)
    reader = _core.ArchiveReader(pack)
    expected = np.full(count, -1.5, np.float32)
    data = reader.write_member(
        [],
        [("member", reader.encode_member(np.array([-3], np.int8)))],
        [("member", 0, digest(expected))],
    )
    with vc.open(data, pack=pack) as archive:
        np.testing.assert_array_equal(archive["weight"], expected)
        np.testing.assert_array_equal(archive.rows("weight", count - 90, count), expected[:90])


@pytest.mark.parametrize("outputs", [2**28, 2**28 + 1])
def test_a_few_bytes_claim_no_gigabytes(outputs: int) -> None:
    claim = varint(1) + varint(1) + varint(outputs) + parameter(None) + parameter(np.float32(1))
    pack = wide_pack(claim, 2**28, 4)
    for decode in (vc.verify, reference_decode, lambda data: _core.ArchiveReader(data).fleet()):
        with pytest.raises(vc.ArchiveError, match="layer's out"):
            decode(pack)


def test_every_changed_byte_is_refused() -> None:
    for position in range(len(MEMBER.data)):
        changed = bytearray(MEMBER.data)
        changed[position] ^= 0x10
        with pytest.raises(vc.ArchiveError):
            verified(bytes(changed))
        with pytest.raises(vc.ArchiveError):
            reference_decoded(bytes(changed))


def test_every_prefix_is_refused() -> None:
    for size in range(len(MEMBER.data)):
        with pytest.raises(vc.ArchiveError):
            verified(MEMBER.data[:size])


@pytest.mark.parametrize("data", [PACK.data, MEMBER.data], ids=["pack", "member"])
def test_native_and_reference_agree_on_every_changed_index_byte(data: bytes) -> None:
    (size,) = struct.unpack_from("<I", data, 12)
    for position in range(64 if data is MEMBER.data else 32, 32 + size):
        for change in (1, 0x80, 0xFF):
            changed = sealed(data, position, bytes([data[position] ^ change]))
            results: list[Arrays | None] = []
            for decode in (verified, reference_decoded):
                try:
                    results.append(decode(changed))
                except vc.ArchiveError:
                    results.append(None)
            native, reference = results
            if native is None or reference is None:
                assert native is reference is None, position
            else:
                assert [v.tobytes() for v in native.values()] == [
                    v.tobytes() for v in reference.values()
                ]
