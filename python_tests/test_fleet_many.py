"""Many members at once on this machine: names, restarts, failures, Ctrl-C, and equal bytes."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

import fsspec
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vaecomp_native as vc
from vaecomp_native.fleet import compress_many, decode_many
from vaecomp_native.fleet.many.maker import MADE_OF
from vaecomp_native.fleet.many.storage import find_files

from .fleet_files import FleetFiles, assert_intact, contents, make_fleet_files, train_pack

COUNT = 24


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> FleetFiles:
    return make_fleet_files(tmp_path_factory.mktemp("fleet"), COUNT)


@pytest.fixture(scope="module")
def made(files: FleetFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The members, made by one worker."""
    out = tmp_path_factory.mktemp("made")
    report = compress_many(files.pattern, out, pack=files.pack, workers=1)
    assert report.counts == {"made": COUNT, "kept": 0, "failed": 0}
    return out


def copy_of(directory: Path, to: Path) -> Path:
    to.mkdir()
    for name, data in contents(directory).items():
        (to / name).write_bytes(data)
    return to


def statuses(report: object) -> dict[str, str]:
    return {member.name: member.status for member in report.members}  # type: ignore[attr-defined]


def test_every_member_is_what_the_library_makes_of_it(
    files: FleetFiles, made: Path, tmp_path: Path
) -> None:
    assert_intact(made, files.pack, COUNT)
    source = files.members / "u0003.safetensors"
    data = (made / "u0003.vaec").read_bytes()
    with vc.open(data, pack=files.pack) as archive:
        metadata = archive.info.metadata
    vc.fleet.compress(source, tmp_path / "one.vaec", pack=files.pack, metadata=metadata)
    assert (tmp_path / "one.vaec").read_bytes() == data


@pytest.mark.parametrize("workers", [2, 5])
def test_bytes_do_not_depend_on_the_workers(
    files: FleetFiles, made: Path, tmp_path: Path, workers: int
) -> None:
    compress_many(files.pattern, tmp_path / "out", pack=files.pack, workers=workers)
    assert contents(tmp_path / "out") == contents(made)


def test_the_report_counts_bytes_in_the_members_order(files: FleetFiles, tmp_path: Path) -> None:
    sources = sorted(files.members.iterdir(), reverse=True)
    report = compress_many(sources, tmp_path / "out", pack=files.pack, workers=3)
    assert [member.source for member in report.members] == [str(source) for source in sources]
    written = contents(tmp_path / "out")
    assert report.bytes == sum(map(len, written.values()))
    assert report.source_bytes == sum(source.stat().st_size for source in sources)
    for member in report.members:
        assert member.bytes == len(written[f"{member.name}.vaec"])
        assert 0 < (member.relative_error or 0) < 0.5
    assert report.to_dict()["made"] == COUNT
    assert report.to_dict()["members"][0]["reason"] is None


def test_what_is_there_is_kept(files: FleetFiles, made: Path, tmp_path: Path) -> None:
    out = copy_of(made, tmp_path / "out")
    (out / "u0005.vaec").unlink()
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    report = compress_many(files.pattern, out, pack=files.pack)
    assert report.counts == {"made": 1, "kept": COUNT - 1, "failed": 0}
    assert statuses(report)["u0005"] == "made"
    assert all((out / name).stat().st_mtime_ns == time for name, time in before.items())
    assert report.bytes == sum(map(len, contents(made).values()))
    assert contents(out) == contents(made)


def test_what_is_damaged_or_stale_is_made_again(
    files: FleetFiles, made: Path, tmp_path: Path
) -> None:
    out = copy_of(made, tmp_path / "out")
    changed = bytearray((out / "u0000.vaec").read_bytes())
    changed[-1] ^= 1
    (out / "u0000.vaec").write_bytes(changed)
    (out / "u0001.vaec").write_bytes((out / "u0001.vaec").read_bytes()[:-3])
    (out / "u0002.vaec").write_bytes(b"")
    (out / "u0003.vaec").write_bytes((out / "u0004.vaec").read_bytes())  # of another input
    (out / "u0005.vaec").write_bytes(files.pack.read_bytes())  # no member
    vc.fleet.compress(files.members / "u0006.safetensors", out / "u0006.vaec", pack=files.pack)
    report = compress_many(files.pattern, out, pack=files.pack)
    again = {f"u000{i}" for i in (0, 1, 2, 3, 5, 6)}
    assert {name for name, status in statuses(report).items() if status == "made"} == again
    assert report.counts["kept"] == COUNT - len(again)
    assert contents(out) == contents(made)


def test_another_input_makes_the_member_again(files: FleetFiles, tmp_path: Path) -> None:
    users = copy_of(files.members, tmp_path / "users")
    pattern = str(users / "*.safetensors")
    compress_many(pattern, tmp_path / "out", pack=files.pack)
    tensors = load_file(users / "u0001.safetensors")
    tensors["fc.bias"][0] += 1
    save_file(tensors, users / "u0001.safetensors")
    report = compress_many(pattern, tmp_path / "out", pack=files.pack)
    assert [name for name, one in statuses(report).items() if one == "made"] == ["u0001"]


def test_other_options_make_every_member_again(
    files: FleetFiles, made: Path, tmp_path: Path
) -> None:
    out = copy_of(made, tmp_path / "out")
    for options in ({"rate_weight": 0.05}, {"rate_weight": 0.01}, {"lossless": True}, {}):
        for status in ("made", "kept"):
            report = compress_many(files.pattern, out, pack=files.pack, **options)
            assert report.counts[status] == COUNT, options
    assert contents(out) == contents(made)
    report = compress_many(files.pattern, out, pack=files.pack, overwrite=True)
    assert report.counts["made"] == COUNT


def test_members_of_another_pack_are_made_again(
    files: FleetFiles, made: Path, tmp_path: Path
) -> None:
    out = copy_of(made, tmp_path / "out")
    other = tmp_path / "other.vaepack"
    train_pack(files, other, latent=2)
    assert compress_many(files.pattern, out, pack=other).counts["made"] == COUNT
    assert_intact(out, other, COUNT)


def test_lossless_members_come_back_bit_for_bit(files: FleetFiles, tmp_path: Path) -> None:
    compress_many(files.pattern, tmp_path / "out", pack=files.pack, lossless=True)
    for path in (tmp_path / "out").iterdir():
        original = load_file(files.members / f"{path.stem}.safetensors")
        decoded = vc.decode(path, pack=files.pack)
        assert decoded.keys() == original.keys()
        for name, array in original.items():
            assert decoded[name].tobytes() == array.tobytes()


@pytest.mark.filterwarnings("ignore:tensor 'fc.bias' is stored without loss")
def test_a_member_with_nans_is_made_and_says_what_is_kept(
    files: FleetFiles, tmp_path: Path
) -> None:
    tensors = load_file(files.members / "u0002.safetensors")
    tensors["fc.bias"][3] = np.nan
    source = tmp_path / "nan.safetensors"
    save_file(tensors, source)
    (member,) = compress_many([source], tmp_path / "out", pack=files.pack, workers=1).members
    assert (member.status, member.kept_exact) == ("made", ("fc.bias",))
    decoded = vc.decode(tmp_path / "out" / "nan.vaec", pack=files.pack)
    assert decoded["fc.bias"].tobytes() == tensors["fc.bias"].tobytes()


def test_a_failing_member_stops_no_other(files: FleetFiles, made: Path, tmp_path: Path) -> None:
    users = copy_of(files.members, tmp_path / "users")
    tensors = load_file(users / "u0002.safetensors")
    bad = {
        "shape": {**tensors, "fc.bias": np.zeros(13, np.float32)},
        "missing": {name: tensors[name] for name in ("fc.weight", "steps")},
    }
    for name, arrays in bad.items():
        save_file(arrays, users / f"{name}.safetensors")
    (users / "garbage.safetensors").write_bytes(b"no safetensors at all")
    (users / "index.json").write_text("{}")
    sources = [*sorted(users.iterdir()), tmp_path / "absent.safetensors"]
    report = compress_many(sources, tmp_path / "out", pack=files.pack, workers=2)
    reasons = {member.name: member.reason or "" for member in report.failed}
    assert reasons.keys() == {*bad, "garbage", "index", "absent"}
    assert "'fc.bias'" in reasons["shape"]
    assert "'fc.bias'" in reasons["missing"]
    assert "absent.safetensors" in reasons["absent"]
    assert "safetensors" in reasons["index"]
    assert all(reason and "\n" not in reason for reason in reasons.values())
    assert report.counts["made"] == COUNT
    assert contents(tmp_path / "out") == contents(made)


def test_an_output_that_cannot_be_written_is_reported(
    files: FleetFiles, made: Path, tmp_path: Path
) -> None:
    (tmp_path / "out" / "u0001.vaec").mkdir(parents=True)
    report = compress_many(files.pattern, tmp_path / "out", pack=files.pack)
    assert [member.name for member in report.failed] == ["u0001"]
    found = contents(tmp_path / "out")
    assert found == {n: data for n, data in contents(made).items() if n != "u0001.vaec"}


def test_what_is_no_pack_is_refused_before_anything_is_written(
    files: FleetFiles, made: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "plain.vaec"
    vc.compress(files.base, plain, codec="lossless")
    for pack in (files.base, plain, made / "u0000.vaec"):
        with pytest.raises(vc.ArchiveError):
            compress_many(files.pattern, tmp_path / "out", pack=pack)
    with pytest.raises(FileNotFoundError):
        compress_many(files.pattern, tmp_path / "out", pack=tmp_path / "absent")
    assert not (tmp_path / "out").exists() or not contents(tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"engine": "dask"}, "engine"),
        ({"workers": -1}, "workers"),
        ({"rate_weight": 0.0}, "rate_weight"),
        ({"rate_weight": float("nan")}, "rate_weight"),
        ({"rate_weight": 0.1, "lossless": True}, "give one"),
    ],
)
def test_wrong_options_are_named(
    files: FleetFiles, tmp_path: Path, options: Mapping[str, object], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        compress_many(files.pattern, tmp_path / "out", pack=files.pack, **options)
    assert not (tmp_path / "out").exists()


def test_a_pattern_over_directories_keeps_them(files: FleetFiles, tmp_path: Path) -> None:
    for number, user in enumerate(("alice", "bob/home", "[x]")):
        (tmp_path / "in" / user).mkdir(parents=True)
        data = (files.members / f"u000{number}.safetensors").read_bytes()
        (tmp_path / "in" / user / "model.v1.safetensors").write_bytes(data)
    report = compress_many(f"{tmp_path}/in/**/*.safetensors", tmp_path / "out", pack=files.pack)
    assert report.counts["made"] == 3
    names = {f"{user}/model.v1.vaec" for user in ("alice", "bob/home", "[x]")}
    assert contents(tmp_path / "out").keys() == names
    assert list(find_files(str(tmp_path / "in" / "[x]" / "model.v1.safetensors"))) == ["model.v1"]


def test_two_members_of_one_name_are_refused(files: FleetFiles, tmp_path: Path) -> None:
    (tmp_path / "u0000.safetensors").write_bytes(b"")
    sources = [files.members / "u0000.safetensors", tmp_path / "u0000.safetensors"]
    with pytest.raises(vc.VaecompError, match="same name 'u0000'"):
        compress_many(sources, tmp_path / "out", pack=files.pack)
    for nothing in (str(tmp_path / "*.none"), []):
        with pytest.raises(vc.VaecompError):
            compress_many(nothing, tmp_path / "out", pack=files.pack)
    assert not (tmp_path / "out").exists()


def test_urls_are_read_and_written(files: FleetFiles, made: Path, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    root = f"/{uuid.uuid4()}"
    for name, data in contents(files.members).items():
        memory.pipe_file(f"{root}/users/{name}", data)
    memory.pipe_file(f"{root}/p.vaepack", files.pack.read_bytes())
    url = f"memory:/{root}"
    arguments = (f"{url}/users/*.safetensors", f"{url}/members")
    pack = f"{url}/p.vaepack"
    assert compress_many(*arguments, pack=pack, workers=2).counts["made"] == COUNT
    found = {Path(name).name: memory.cat_file(name) for name in memory.ls(f"{root}/members", False)}
    assert found == contents(made)
    memory.pipe_file(f"{root}/members/u0001.vaec", b"damaged")
    assert compress_many(*arguments, pack=pack).counts == {
        "made": 1,
        "kept": COUNT - 1,
        "failed": 0,
    }
    assert memory.cat_file(f"{root}/members/u0001.vaec") == contents(made)["u0001.vaec"]
    report = decode_many(f"{url}/members/*.vaec", f"{url}/decoded", pack=pack)
    assert report.counts["made"] == COUNT
    (tmp_path / "one").write_bytes(memory.cat_file(f"{root}/decoded/u0002.safetensors"))
    expected = vc.decode(made / "u0002.vaec", pack=files.pack)
    assert {k: a.tobytes() for k, a in load_file(tmp_path / "one").items()} == {
        name: array.tobytes() for name, array in expected.items()
    }
    local = compress_many(
        files.members.as_uri() + "/*.safetensors", tmp_path.as_uri(), pack=files.pack
    )
    assert local.counts["made"] == COUNT
    assert (tmp_path / "u0000.vaec").read_bytes() == found["u0000.vaec"]


@pytest.mark.parametrize("workers", [1, 3])
def test_ctrl_c_leaves_whole_files_and_the_next_run_goes_on(
    files: FleetFiles, made: Path, tmp_path: Path, workers: int
) -> None:
    def interrupt(stage: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        if done == 7:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        compress_many(files.pattern, out, pack=files.pack, workers=workers, progress=interrupt)
    some = contents(out)
    assert 7 <= len(some) < COUNT
    assert some.items() <= contents(made).items()
    report = compress_many(files.pattern, out, pack=files.pack, workers=workers)
    assert report.counts == {"made": COUNT - len(some), "kept": len(some), "failed": 0}
    assert contents(out) == contents(made)


def test_progress_counts_members_and_failures(files: FleetFiles, tmp_path: Path) -> None:
    calls: list[tuple[int, int, dict[str, float]]] = []
    sources = [*sorted(files.members.iterdir())[:3], tmp_path / "absent.safetensors"]
    compress_many(
        *(sources, tmp_path / "out"),
        pack=files.pack,
        workers=2,
        progress=lambda stage, done, total, metrics: calls.append((done, total, dict(metrics))),
    )
    assert [call[:2] for call in calls] == [(done, 4) for done in range(5)]
    assert calls[-1][2] == {"failed": 1}


def test_members_are_decoded_together(files: FleetFiles, made: Path, tmp_path: Path) -> None:
    members = copy_of(made, tmp_path / "members")
    damaged = bytearray((members / "u0004.vaec").read_bytes())
    damaged[-1] ^= 1
    (members / "u0004.vaec").write_bytes(damaged)
    (members / "u0005.vaec").write_bytes(b"no archive")
    report = decode_many(str(members / "*.vaec"), tmp_path / "out", pack=files.pack)
    assert [member.name for member in report.failed] == ["u0004", "u0005"]
    assert len(contents(tmp_path / "out")) == report.counts["made"] == COUNT - 2
    for path in (tmp_path / "out").iterdir():
        expected = vc.decode(made / f"{path.stem}.vaec", pack=files.pack)
        found = load_file(path)
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            assert found[name].dtype == array.dtype
            assert found[name].tobytes() == array.tobytes()


def test_batches_of_any_size_decode_to_the_same(
    files: FleetFiles, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pattern = str(made / "*.vaec")
    decode_many(pattern, tmp_path / "together", pack=files.pack)
    monkeypatch.setattr("vaecomp_native.fleet.many.decode.BATCH_MEMBERS", 5)
    decode_many(pattern, tmp_path / "fives", pack=files.pack)
    monkeypatch.setattr("vaecomp_native.fleet.many.decode.BATCH_BYTES", 1)
    decode_many(pattern, tmp_path / "single", pack=files.pack)
    together = contents(tmp_path / "together")
    assert len(together) == COUNT
    assert together == contents(tmp_path / "fives") == contents(tmp_path / "single")


def test_metadata_tells_what_a_member_was_made_of(files: FleetFiles, tmp_path: Path) -> None:
    source = files.members / "u0000.safetensors"
    compress_many([source], tmp_path, pack=files.pack, rate_weight=1)
    metadata = vc.verify(tmp_path / "u0000.vaec", pack=files.pack).metadata
    assert metadata[MADE_OF].startswith("sha256-")
    assert metadata[MADE_OF].endswith(" rate_weight=1.0")


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("fsspec", "'memory://a/*', 'out', pack='p'", "remote"),
        ("ray", "'base*', 'out', pack='p', engine='ray'", "fleet"),
    ],
)
def test_what_is_not_installed_is_named(
    files: FleetFiles, missing: str, arguments: str, extra: str
) -> None:
    code = (
        f"import sys; sys.modules['{missing}'] = None\n"
        f"from vaecomp_native.fleet import compress_many; compress_many({arguments})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=files.base.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    last = done.stderr.splitlines()[-1]
    assert "pip install" in last and f"vaecomp_native[{extra}]" in last
