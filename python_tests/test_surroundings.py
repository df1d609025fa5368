"""The command line where terminals, paths, streams and disks are not as one would like."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vaecomp_native as vc

WEIGHTS = {
    "größe": np.arange(4096, dtype=np.float32).reshape(64, 64) / 977 - 2,
    "ids": np.arange(7),
}
VAECOMP = [sys.executable, "-m", "vaecomp_native"]


def run(*arguments: str | bytes | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*VAECOMP, *arguments],  # type: ignore[list-item]
        **{"capture_output": True, "text": True, "check": False, "timeout": 120, **options},  # type: ignore[call-overload]
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


# An output that is an input


def test_the_only_copy_is_not_replaced(source: Path, tmp_path: Path) -> None:
    before = source.read_bytes()
    (tmp_path / "link.safetensors").symlink_to(source)
    (tmp_path / "hard.safetensors").hardlink_to(source)
    for name in ("model.safetensors", "link.safetensors", "hard.safetensors"):
        for arguments in ((source, tmp_path / name), (tmp_path / name, source)):
            done = run("compress", *arguments)
            assert done.returncode == 1 and "would be replaced" in done.stderr
            assert done.stderr.count("\n") == 1 and done.stdout == ""
    archive = tmp_path / "m.vaec"
    assert run("compress", source, archive).returncode == 0
    written = archive.read_bytes()
    assert "would be replaced" in run("decode", archive, archive).stderr
    assert source.read_bytes() == before and archive.read_bytes() == written


@pytest.mark.slow
def test_shards_of_the_input_are_inputs(tmp_path: Path) -> None:
    save_file({"a": WEIGHTS["ids"]}, tmp_path / "s-1.safetensors")
    save_file({"b": WEIGHTS["ids"]}, tmp_path / "s-2.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "s-1.safetensors", "b": "s-2.safetensors"}}')
    for output in ("s-1.safetensors", "s-2.safetensors", index.name):
        before = (tmp_path / output).read_bytes()
        for given in (index, tmp_path):
            assert "would be replaced" in run("compress", given, tmp_path / output).stderr
        assert (tmp_path / output).read_bytes() == before


# Outputs that are no ordinary files


def test_an_archive_through_a_fifo(source: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(fifo.read_bytes()))
    reader.start()
    assert run("compress", source, fifo, "--codec", "raw").returncode == 0
    reader.join(timeout=60)
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    decoded = vc.decode(received[0])
    assert decoded["größe"].tobytes() == WEIGHTS["größe"].tobytes()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no /dev/full")
def test_a_full_disk_is_called_a_full_disk(source: Path, tmp_path: Path) -> None:
    archive = tmp_path / "m.vaec"
    assert run("compress", source, archive).returncode == 0
    for arguments in (("compress", source, "/dev/full"), ("decode", archive, "/dev/full")):
        done = run(*arguments)
        assert done.returncode == 1
        assert "No space left on device; free some space" in done.stderr
        assert done.stderr.count("\n") == 1
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = run("inspect", archive, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1 and "No space left" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_object_and_a_url_are_written(tmp_path: Path) -> None:
    with (tmp_path / "m.vaec").open("wb") as file:
        vc.compress(WEIGHTS, file, codec="lossless")
    assert vc.decode(tmp_path / "m.vaec")["ids"].tolist() == list(range(7))
    pytest.importorskip("fsspec")
    url = f"file://{tmp_path}/other.vaec"
    save_file(WEIGHTS, tmp_path / "m.safetensors")
    assert run("compress", tmp_path / "m.safetensors", url).returncode == 0
    assert run("decode", url, f"file://{tmp_path}/back.safetensors").returncode == 0
    assert load_file(tmp_path / "back.safetensors")["ids"].tolist() == list(range(7))


# Terminals, streams and names


@pytest.mark.parametrize(
    "encoding",
    ["ascii", *(pytest.param(name, marks=pytest.mark.slow) for name in ("latin-1", "utf-8"))],
)
def test_terminals_of_any_encoding(source: Path, tmp_path: Path, encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "LC_ALL": "C", "PYTHONUTF8": "0"}
    archive = tmp_path / "größe.vaec"
    for arguments in (
        ("compress", source, archive),
        ("compress", source, "--plan"),
        ("inspect", archive),
        ("decode", archive, tmp_path / "zurück.safetensors"),
        ("--help",),
    ):
        done = run(*arguments, env=environment, encoding="utf-8", errors="replace")
        assert done.returncode == 0, done.stderr
    done = run(
        "decode",
        archive,
        tmp_path / "x",
        "--tensor",
        "fehlt größe",
        env=environment,
        encoding="utf-8",
        errors="replace",
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-", "0<&-"])
def test_streams_that_are_closed(source: Path, tmp_path: Path, closed: str) -> None:
    archive = tmp_path / "m.vaec"
    line = f'"{sys.executable}" -m vaecomp_native compress "{source}" "{archive}" {closed}'
    assert subprocess.run(line, shell=True, check=False, timeout=120).returncode == 0
    assert vc.decode(archive)["ids"].tolist() == list(range(7))


def test_a_reader_that_goes_away_is_no_error_of_ours(tmp_path: Path) -> None:
    archive = tmp_path / "m.vaec"
    vc.compress({f"tensor {i}": np.zeros(1) for i in range(5000)}, archive, codec="raw")
    line = f'"{sys.executable}" -m vaecomp_native inspect "{archive}" | head -1'
    done = subprocess.run(
        line, shell=True, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stderr == ""


@pytest.mark.skipif(sys.platform == "darwin", reason="file names are UTF-8 there")
def test_paths_that_are_not_utf_8(source: Path, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path)
    raw, archive, back = (
        folder + name for name in (b"/m\xff.safetensors", b"/m\xfe.vaec", b"/b\xfd")
    )
    os.rename(source, raw)
    for arguments in (
        (b"compress", raw, archive),
        (b"inspect", archive),
        (b"verify", archive),
        (b"decode", archive, back),
    ):
        done = run(*arguments, encoding="utf-8", errors="replace")
        assert done.returncode == 0, done.stderr
    assert vc.decode(os.fsdecode(archive), mmap=True)["ids"].tolist() == list(range(7))
    for wrong in (
        (b"compress", folder + b"/no\xff", archive),
        (b"decode", folder + b"/no\xff", back),
    ):
        done = run(*wrong, encoding="utf-8", errors="replace")
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr


# Arguments


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path: vc.decode(path, threads=-1), "threads"),
        (lambda path: vc.decode(path, threads=1.5), "threads"),
        (lambda path: vc.compress(WEIGHTS, path, threads=-1), "threads"),
        (lambda path: vc.decode(path, names="ids"), "names"),
        (lambda path: vc.decode(path, names=[5]), "names"),
        (lambda path: vc.decode(5), "source"),
        (lambda path: vc.decode(None), "source"),
        (lambda path: vc.open([path]), "source"),
        (lambda path: vc.verify(5.5), "source"),
        (lambda path: vc.compress(5, path), "weights"),
        (lambda path: vc.compress({"\ud800": np.zeros(3)}, path), "name"),
        (lambda path: vc.compress(WEIGHTS, 5), "out"),
        (lambda path: vc.compress(WEIGHTS, None), "out"),
    ],
)
def test_wrong_arguments_are_named(tmp_path: Path, call: object, message: str) -> None:
    path = tmp_path / "m.vaec"
    vc.compress(WEIGHTS, path, codec="raw")
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        call(path)  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_a_text_file_is_no_source(tmp_path: Path) -> None:
    vc.compress(WEIGHTS, tmp_path / "m.vaec", codec="raw")
    with (
        (tmp_path / "m.vaec").open(encoding="latin-1") as text,
        pytest.raises(TypeError, match="rb"),
    ):
        vc.decode(text)
