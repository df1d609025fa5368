"""Archives from HTTP servers of all kinds, on this machine.

Servers have ranges, have none, give no lengths, or are broken.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import vaecomp_native as vc
from vaecomp_native.io import sources

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")


class Server(ThreadingHTTPServer):
    """Serves one file, as `kind` says."""

    def __init__(self, data: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.data = data
        self.sent = 0

    def url(self, kind: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{kind}/model.vaec"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        kind = self.path.split("/")[1]
        if kind == "missing":
            self.send_error(404)
            return
        data, asked = self.server.data, self.headers.get("Range")
        if kind == "other":
            data = b"<!DOCTYPE html>" * 100
        if kind == "ranges" and asked is not None:
            first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", asked).groups())  # type: ignore[union-attr]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            data = data[first : last + 1]
        else:
            self.send_response(200)
        if kind == "ranges":
            self.send_header("Accept-Ranges", "bytes")
        if kind == "nolength":
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            if kind == "cut":
                data = data[: len(data) // 2]
                self.close_connection = True
            self.server.sent += len(data)
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


WEIGHTS = {
    "large": np.random.default_rng(0).standard_normal((500, 1000)).astype(np.float32),
    "small": np.arange(5, dtype=np.int64),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    path = tmp_path_factory.mktemp("served") / "model.vaec"
    vc.compress(WEIGHTS, path, codec="raw")
    with Server(path.read_bytes()) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", ["ranges", "noranges", "nolength"])
def test_every_kind_of_server_gives_the_archive(server: Server, kind: str) -> None:
    decoded = vc.decode(server.url(kind))
    assert {name: array.tobytes() for name, array in decoded.items()} == {
        name: array.tobytes() for name, array in WEIGHTS.items()
    }


def test_of_a_server_with_ranges_only_what_is_asked_for_is_read(server: Server) -> None:
    server.sent = 0
    with vc.open(server.url("ranges")) as archive:
        assert archive["small"].tolist() == [0, 1, 2, 3, 4]
    assert server.sent < 100_000


def test_a_whole_archive_is_read_up_to_a_limit(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "WHOLE_LIMIT", 1_000_000)
    with pytest.raises(OSError, match="download it first"):
        vc.decode(server.url("noranges"))


@pytest.mark.parametrize("kind", ["missing", "cut", "other"])
def test_what_is_no_archive_is_one_line(server: Server, kind: str) -> None:
    with pytest.raises((OSError, vc.ArchiveError)) as caught:
        vc.decode(server.url(kind))
    assert "\n" not in str(caught.value)


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(OSError, match=f"127.0.0.1:{port}"):
        vc.decode(f"http://127.0.0.1:{port}/model.vaec")


def test_protocols_that_nobody_knows_are_one_line() -> None:
    with pytest.raises(OSError, match="carrier-pigeon"):
        vc.decode("carrier-pigeon://model.vaec")


def test_an_object_store_takes_and_gives_archives(tmp_path: Path) -> None:
    vc.compress(WEIGHTS, "memory://bucket/model.vaec", codec="lossless")
    assert vc.decode("memory://bucket/model.vaec")["small"].tolist() == [0, 1, 2, 3, 4]
