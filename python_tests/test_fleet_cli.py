"""``vaecomp fleet`` and ``--pack`` in real processes on real files."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vaecomp_native as vc

from .fleet_files import FleetFiles, assert_intact, contents, make_fleet_files
from .test_cli import fails, vaecomp

COUNT = 12


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> FleetFiles:
    return make_fleet_files(tmp_path_factory.mktemp("fleet"), COUNT)


@pytest.fixture(scope="module")
def members(files: FleetFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Members that the command made."""
    out = tmp_path_factory.mktemp("out") / "members"
    run = compress(files, out)
    assert (run.returncode, run.stderr) == (0, "")
    return out


def compress(files: FleetFiles, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return vaecomp(
        *("fleet", "compress", files.pattern, out, "--pack", files.pack),
        *options,
    )


def test_train_writes_a_pack(files: FleetFiles, tmp_path: Path) -> None:
    arguments = ("fleet", "train", "--base", files.base, files.pattern)
    run = vaecomp(*arguments, tmp_path / "a.vaepack", "--latent", "4")
    assert (run.returncode, run.stderr) == (0, "")
    assert (tmp_path / "a.vaepack").read_bytes() == files.pack.read_bytes()
    assert vc.open(files.pack).sha256 in run.stdout
    run = vaecomp(*arguments, tmp_path / "b.vaepack", "--base-bits-per-weight", "9", "--json")
    report = json.loads(run.stdout)
    assert report["bytes"] == (tmp_path / "b.vaepack").stat().st_size
    assert (report["members"], report["latents"]) == (COUNT, 8)
    assert vc.open(tmp_path / "b.vaepack").sha256 == report["sha256"]
    run = vaecomp(*arguments, tmp_path / "c.vaepack", "--latent", "4", "--lossless")
    assert run.returncode == 0
    offset, _ = vc.fleet.Pack(tmp_path / "c.vaepack").linear_map
    base = vc.decode(files.pack)
    assert np.array_equal(offset, vc.fleet.Pack(files.pack).layout.flatten(base))


def test_compress_decode_and_compress_again(
    files: FleetFiles, members: Path, tmp_path: Path
) -> None:
    assert_intact(members, files.pack, COUNT)
    run = vaecomp(
        *("fleet", "decode", members / "*.vaec", tmp_path / "decoded"),
        *("--pack", files.pack),
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert f"{COUNT} members: {COUNT} made" in run.stdout
    for path in sorted(members.iterdir()):
        found = load_file(tmp_path / "decoded" / f"{path.stem}.safetensors")
        expected = vc.decode(path, pack=files.pack)
        assert {n: a.tobytes() for n, a in found.items()} == {
            n: a.tobytes() for n, a in expected.items()
        }
    before = contents(members)
    run = compress(files, members, "--workers", "2")
    assert (run.returncode, run.stderr) == (0, "")
    assert f"{COUNT} members: {COUNT} kept" in run.stdout
    assert contents(members) == before


def test_json_counts_every_byte(files: FleetFiles, tmp_path: Path) -> None:
    sizes = []
    for options in ((), ("--rate-weight", "0.02"), ("--lossless",), ("--overwrite",)):
        run = compress(files, tmp_path / "out", "--json", *options)
        assert (run.returncode, run.stderr) == (0, "")
        report = json.loads(run.stdout)
        assert (report["made"], report["kept"], report["failed"]) == (COUNT, 0, 0)
        assert report["bytes"] == sum(map(len, contents(tmp_path / "out").values()))
        assert [member["name"] for member in report["members"]] == sorted(
            path.stem for path in files.members.iterdir()
        )
        sizes.append(report["bytes"])
    assert sizes[3] == sizes[0] < sizes[1] < sizes[2]


def test_members_that_fail_are_named_and_counted(files: FleetFiles, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.mkdir()
    for path in sorted(files.members.iterdir())[:3]:
        (users / path.name).write_bytes(path.read_bytes())
    save_file({"other": np.zeros(3, np.float32)}, users / "odd.safetensors")
    (users / "none.safetensors").write_bytes(b"")
    for as_json in (False, True):
        run = vaecomp(
            *("fleet", "compress", users / "*", tmp_path / "out", "--pack", files.pack),
            *(["--json"] if as_json else []),
        )
        assert run.returncode == 1
        lines = run.stderr.splitlines()
        assert len(lines) == 3
        assert lines[0].startswith("vaecomp: none: ")
        assert lines[1].startswith("vaecomp: odd: ")
        assert lines[2] == "vaecomp: 2 of 5 members failed"
        if as_json:
            report = json.loads(run.stdout)
            assert (report["made"], report["kept"], report["failed"]) == (0, 3, 2)
        else:
            assert "5 members: 3 made, 2 failed" in run.stdout
    (tmp_path / "out" / "u0001.vaec").write_bytes(b"damaged")
    run = vaecomp(
        *("fleet", "decode", tmp_path / "out" / "*", tmp_path / "decoded"),
        *("--pack", files.pack),
    )
    assert run.returncode == 1
    assert run.stderr.startswith("vaecomp: u0001: ")
    assert run.stderr.endswith("vaecomp: 1 of 3 members failed\n")
    assert len(contents(tmp_path / "decoded")) == 2


def test_a_member_is_read_with_its_pack(files: FleetFiles, members: Path, tmp_path: Path) -> None:
    member, digest = members / "u0001.vaec", vc.open(files.pack).sha256
    run = vaecomp("verify", member, "--pack", files.pack)
    assert (run.returncode, run.stderr) == (0, "")
    assert "intact" in run.stdout
    run = vaecomp("decode", member, tmp_path / "one.safetensors", "--pack", files.pack)
    assert (run.returncode, run.stderr) == (0, "")
    found = load_file(tmp_path / "one.safetensors")
    for name, array in vc.decode(member, pack=files.pack).items():
        assert found[name].tobytes() == array.tobytes()
    run = vaecomp("inspect", member, "--pack", files.pack)
    assert f"a member of the pack with SHA-256 {digest}" in run.stdout
    assert "latents" in run.stdout
    inspected = json.loads(vaecomp("inspect", member, "--pack", files.pack, "--json").stdout)
    verified = json.loads(vaecomp("verify", member, "--pack", files.pack, "--json").stdout)
    assert inspected["pack_sha256"] == digest
    assert verified == {"verified": True, **inspected}
    assert inspected["bytes"]["total"] == member.stat().st_size
    assert f"name it by SHA-256 {digest}" in vaecomp("inspect", files.pack).stdout


@pytest.mark.parametrize("command", ["inspect", "verify", "decode"])
def test_without_the_pack_or_with_another_one_line_says_which(
    files: FleetFiles, members: Path, tmp_path: Path, command: str
) -> None:
    arguments = [members / "u0001.vaec", *([tmp_path / "out"] if command == "decode" else [])]
    digest = vc.open(files.pack).sha256
    fails(vaecomp(command, *arguments), "u0001.vaec", digest, "--pack")
    vc.compress(files.base, tmp_path / "plain.vaec", codec="lossless")
    fails(vaecomp(command, *arguments, "--pack", tmp_path / "plain.vaec"), digest)
    fails(vaecomp(command, *arguments, "--pack", files.base), "base.safetensors", "magic")
    fails(vaecomp(command, *arguments, "--pack", tmp_path / "absent"), "absent")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_done_is_one_line(files: FleetFiles, tmp_path: Path) -> None:
    pattern, pack, out = files.pattern, files.pack, tmp_path / "out"
    command = ("fleet", "compress")
    fails(vaecomp(*command, tmp_path / "*", out, "--pack", pack), "no file matches")
    fails(vaecomp(*command, pattern, out, "--pack", tmp_path / "p"), str(tmp_path / "p"))
    fails(vaecomp(*command, pattern, out, "--pack", files.base), "magic")
    file = tmp_path / "file"
    file.touch()
    fails(vaecomp(*command, pattern, file, "--pack", pack), "not a directory")
    train, new = ("fleet", "train", "--base", files.base), tmp_path / "p"
    fails(vaecomp(*train, files.base, new), "at least 2 members")
    fails(vaecomp(*train, pattern, new, "--latent", "0"), "--latent")
    fails(vaecomp(*train, files.members.parent / "*.vaepack", new), "at least 2")
    for path in ("p", "out"):
        assert not (tmp_path / path).is_file()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--rate-weight", "1", "--lossless"], "give one"),
        (["--rate-weight", "-1"], "--rate-weight"),
        (["--workers", "-1"], "--workers"),
        (["--engine", "dask"], "--engine"),
        (["--colour"], "--colour"),
    ],
)
def test_wrong_usage_is_one_line(
    files: FleetFiles, tmp_path: Path, arguments: list[str], text: str
) -> None:
    fails(compress(files, tmp_path / "out", *arguments), text, "--help", code=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["", " train", " compress", " decode"])
def test_every_help_has_examples(command: str) -> None:
    run = vaecomp("fleet", *command.split(), "--help")
    assert (run.returncode, run.stderr) == (0, "")
    assert f"vaecomp fleet{command}" in run.stdout.partition("Examples:")[2]


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_keeps_what_is_finished(tmp_path: Path) -> None:
    count = 600
    files, out = make_fleet_files(tmp_path, count), tmp_path / "out"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "vaecomp_native", "fleet", "compress", "--workers", "2"),
            *(files.pattern, out, "--pack", files.pack),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background of a shell ignores SIGINT, and its children would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not (out.is_dir() and len(list(out.glob("*.vaec"))) >= 5):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert stdout == ""
    assert stderr == f"vaecomp: interrupted; members that were finished are in {out}\n"
    finished = len(contents(out))
    assert 5 <= finished < count
    assert_intact(out, files.pack, finished)
    run = compress(files, out, "--json")
    report = json.loads(run.stdout)
    assert (report["made"], report["kept"]) == (count - finished, finished)
    assert_intact(out, files.pack, count)
