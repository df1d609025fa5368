"""Strings that archives hold: any length, and no lone surrogates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vaecomp_native as vc
from vaecomp_native import _core, reference
from vaecomp_native.codecs.assembly import assemble
from vaecomp_native.codecs.sections import encode_raw
from vaecomp_native.state_dict import StateDict

from .fleets import make_pack

ARRAY = np.arange(3, dtype=np.int16)
SURROGATE = "a\udc80"


def archive(name: str, metadata: dict[str, str]) -> bytes:
    return assemble(StateDict((name,), {name: ARRAY}, {}, metadata), [encode_raw({name: ARRAY})])


@pytest.mark.parametrize("length", [65_535, 65_536, 10_000_000])
def test_strings_of_any_length(length: int, tmp_path: Path) -> None:
    path = tmp_path / "long.vaec"
    metadata = {"k" * length: "v" * length, "key": "値" * (length // 3)}
    path.write_bytes(archive("n" * length, metadata))
    with vc.open(path) as opened:
        assert opened.info.metadata == metadata
        assert list(opened) == ["n" * length]
        np.testing.assert_array_equal(opened["n" * length], ARRAY)
    assert list(reference.decode(path.read_bytes())) == ["n" * length]


@pytest.mark.parametrize(
    ("name", "metadata", "message"),
    [
        (SURROGATE, {}, r"tensor name 'a\\udc80'"),
        ("w", {SURROGATE: "x"}, r"metadata key 'a\\udc80'"),
        ("w", {"key": SURROGATE}, r"the value of metadata 'key' 'a\\udc80'"),
    ],
    ids=["name", "key", "value"],
)
def test_lone_surrogates_are_named(name: str, metadata: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message + " holds lone surrogates") as caught:
        archive(name, metadata)
    assert type(caught.value) is ValueError
    str(caught.value).encode("ascii")


def test_lone_surrogates_of_members_are_named() -> None:
    pack = make_pack()
    with vc.open(pack.data) as opened, pytest.raises(ValueError, match="metadata key"):
        opened.reader.write_member([(SURROGATE, "")], [], [None] * len(pack.arrays))


def test_other_objects_are_named() -> None:
    with pytest.raises(ValueError, match="metadata key must be a string, not 5"):
        _core.write_archive([(5, "")], [], [])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="the value of metadata 'key' must be a string"):
        _core.write_archive([("key", None)], [], [])  # type: ignore[list-item]
