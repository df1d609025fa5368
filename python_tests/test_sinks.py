from __future__ import annotations

import errno
import io
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from vaecomp_native.errors import OverwriteError
from vaecomp_native.io import sinks
from vaecomp_native.io.sinks import replacing


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    sinks.write(path, b"one")
    sinks.write(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failing_writer_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "file"
    sinks.write(path, b"old")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_bytes(b"half of the n")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_takes_the_old_ones_place_before_it_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "file"
    sinks.write(path, b"old")
    with sinks.filling(path) as filled:
        filled.write_bytes(b"new")
        with sinks.flushing(filled):
            assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    stream = io.BytesIO()
    for out in (path, stream):
        with pytest.raises(ZeroDivisionError), sinks.filling(out) as filled:
            filled.write_bytes(b"bad")
            raise ZeroDivisionError
    assert (path.read_bytes(), stream.getvalue()) == (b"new", b"")
    assert list(tmp_path.iterdir()) == [path]
    with sinks.filling(stream) as filled:
        filled.write_bytes(b"good")
    assert stream.getvalue() == b"good"


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        sinks.write(tmp_path / "file", b"x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_missing_directory_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sinks.write(tmp_path / "absent" / "file", b"x")


def test_an_existing_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"secret")
    path.chmod(0o600)
    sinks.write(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "target", tmp_path / "link"
    link.symlink_to(target)
    sinks.write(link, b"new")  # where nothing is yet
    sinks.write(link, b"newer")
    assert link.is_symlink() and target.read_bytes() == b"newer"
    assert [*(tmp_path / "elsewhere").iterdir()] == [target]


@pytest.mark.parametrize("length", [1, 242, 255])
def test_names_of_any_length_that_the_file_system_takes(tmp_path: Path, length: int) -> None:
    path = tmp_path / ("n" * length)
    sinks.check_output(path)
    sinks.write(path, b"x")
    assert path.read_bytes() == b"x"


def test_a_name_that_is_too_long_is_found_out_beforehand(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long"):
        sinks.check_output(tmp_path / ("n" * 256))


def test_the_umask_of_the_process_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("changes the umask"))
    sinks.write(tmp_path / "file", b"x")


def test_a_fifo_gets_the_bytes_and_stays_one(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    data = os.urandom(300_000)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(fifo.read_bytes()))
    reader.start()
    sinks.check_output(fifo)
    sinks.write(fifo, data)
    reader.join(timeout=10)
    assert received == [data]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_device_stays_one(tmp_path: Path) -> None:
    sinks.write("/dev/null", b"x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    link = tmp_path / "link"
    link.symlink_to("/dev/null")
    sinks.write(link, b"x")
    assert stat.S_ISCHR(link.stat().st_mode)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no /dev/full")
def test_a_full_disk_is_called_one() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        sinks.write("/dev/full", b"x")
    assert caught.value.errno == errno.ENOSPC


def test_a_socket_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        with pytest.raises(OSError, match="socket"):
            sinks.check_output(tmp_path / "socket")


@pytest.mark.parametrize("name", ["same", "link", "hard", "./same", "sub/../same"])
def test_an_output_that_is_an_input_is_refused_by_whatever_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    source = tmp_path / "same"
    source.write_bytes(b"the only copy")
    (tmp_path / "link").symlink_to(source)
    (tmp_path / "hard").hardlink_to(source)
    with pytest.raises(OverwriteError, match="same"):
        sinks.check_output(f"{tmp_path}/{name}", [source])
    with pytest.raises(OverwriteError), source.open("r+b") as file:
        sinks.check_output(file, [tmp_path / name])
    sinks.check_output(tmp_path / "other", [source])


class Dribble(io.RawIOBase):
    """A file that takes a few bytes at a time."""

    def __init__(self) -> None:
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        part = bytes(data[:7])
        self.taken += part
        return len(part)


def test_file_objects_get_every_byte() -> None:
    data = os.urandom(1000)
    memory, dribble = io.BytesIO(b"before:"), Dribble()
    memory.seek(0, os.SEEK_END)
    sinks.write(memory, data)
    sinks.write(dribble, data)
    assert memory.getvalue() == b"before:" + data
    assert dribble.taken == data


def test_urls_get_a_whole_object() -> None:
    fsspec = pytest.importorskip("fsspec")
    sinks.check_output("memory://bucket/model.vaec")
    sinks.write("memory://bucket/model.vaec", b"object")
    assert fsspec.filesystem("memory").cat_file("/bucket/model.vaec") == b"object"


def test_a_url_of_a_file_is_a_path(tmp_path: Path) -> None:
    sinks.write(f"file://{tmp_path}/a%20file", b"x")
    assert (tmp_path / "a file").read_bytes() == b"x"
