"""The examples and docs/embedding.md.

They are built against what `pip install` left, run as processes, and asked over HTTP.
"""

from __future__ import annotations

import functools
import http.client
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import vaecomp_native as vc
from vaecomp_native import _core

from .archives import Sample, make_sample
from .fleets import make_member, make_pack

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
GOLDEN = Path(__file__).parent / "goldens" / "format-1.vaec"
DEADLINE = 60  # seconds, for what hangs
DESCRIBED = (  # by the C program
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "bfloat16", "float32", "float64"),
)

pytestmark = pytest.mark.skipif(not EXAMPLES.exists(), reason="needs a checkout")


# Building


def cmake_build(source: Path, build: Path) -> Path:
    """Configure and build a project that finds the installed package; return its build folder."""
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        pytest.skip("needs cmake and a compiler")
    query = [sys.executable, "-m", "vaecomp_native", "--cmakedir"]
    directory = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    run("cmake", "-S", str(source), "-B", str(build), f"-Dvaecomp_DIR={directory}")
    run("cmake", "--build", str(build))
    return build


def run(*command: str, cwd: Path | None = None) -> str:
    """Return the standard output of a command that succeeds.

    If it fails, both outputs are in the test's failure.
    """
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=600)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


# Archives


@dataclass(frozen=True)
class Digits:
    """An archive of a network, and the network with the archive's weights."""

    path: Path
    module: torch.nn.Module

    def scores(self, pixels: np.ndarray) -> np.ndarray:
        """Torch's probabilities of one image."""
        image = (torch.from_numpy(pixels.astype(np.float32)) / 255 - 0.1307) / 0.3081
        with torch.no_grad():
            logits = self.module(image.reshape(1, 28, 28))
        return np.asarray(logits.softmax(1)[0])


class Network(nn.Module):
    """The network of the README."""

    def __init__(self) -> None:
        super().__init__()
        widths = (784, 200, 100, 60, 30, 10)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        first, *others = self.layers
        outputs: torch.Tensor = first(images.flatten(1))
        for layer in others:
            outputs = layer(torch.relu(outputs))
        return outputs


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    path = tmp_path_factory.mktemp("digits") / "digits.vaec"
    torch.manual_seed(0)
    module = Network()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter *= 2  # so that images differ in their digits
    vc.compress(module, path, codec="quantized", bits_per_weight=4)
    vc.load_into(module, path)
    return Digits(path, module)


@pytest.fixture(scope="module")
def broken(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files that are no archive of the network, each in its way."""
    directory = tmp_path_factory.mktemp("broken")
    data = digits.path.read_bytes()
    contents = {
        "cut": data[:-1],
        "changed": data[:-1] + bytes([data[-1] ^ 1]),
        "empty": b"",
        "other": GOLDEN.read_bytes(),
    }
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    return {name: directory / name for name in (*contents, "missing")}


BROKEN = ("cut", "changed", "empty", "other", "missing")


# The services


@dataclass
class Service:
    """A running service."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(
        self, method: str, path: str, body: bytes | None = None, kind: str = "image/x-raw"
    ) -> tuple[int, Any]:
        """Status and JSON of the answer to one request."""
        with self.connection() as connection:
            connection.request(method, path, body, {"Content-Type": kind} if body else {})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def predict(self, pixels: np.ndarray, *, as_json: bool = False) -> Any:
        if as_json:
            body, kind = json.dumps({"pixels": pixels.tolist()}).encode(), "application/json"
        else:
            body, kind = pixels.astype(np.uint8).tobytes(), "application/octet-stream"
        status, answer = self.ask("POST", "/predict", body, kind)
        assert status == 200, answer
        return answer

    @contextmanager
    def connection(self) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            yield connection
        finally:
            connection.close()


def cpp_service(executable: Path, archive: Path, port: int) -> subprocess.Popen[bytes]:
    return start([str(executable), str(archive), str(port)], archive)


def python_service(archive: Path, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "uvicorn", "service:app", "--port", str(port)]
    return start([*command, "--app-dir", str(EXAMPLES / "fastapi_service")], archive)


LOG = "service.log"


def start(command: list[str], archive: Path) -> subprocess.Popen[bytes]:
    """A process that writes all that it says to a file in the current directory."""
    environment = os.environ | {"ARCHIVE": str(archive), "PYTHONDONTWRITEBYTECODE": "1"}
    with Path(LOG).open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


@contextmanager
def serving(process: subprocess.Popen[bytes]) -> Iterator[Service]:
    """The service of a process, once it says where it listens."""
    log = Path(LOG).absolute()
    try:
        end = time.monotonic() + DEADLINE
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)\s", log.read_text("utf-8"))):
            assert process.poll() is None and time.monotonic() < end, log.read_text("utf-8")
            time.sleep(0.01)
        yield Service(process, int(found[1]), log)
    finally:
        process.kill()
        process.wait()


Launch = Callable[[Path, int], subprocess.Popen[bytes]]


@pytest.fixture(scope="module")
def http_service(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C++ service's executable."""
    found = shutil.which("pkg-config") and not subprocess.call(
        ["pkg-config", "--exists", "cpp-httplib"]
    )
    if not found:
        pytest.skip("needs libcpp-httplib-dev and pkg-config")
    return cmake_build(EXAMPLES / "http_service", tmp_path_factory.mktemp("http")) / "http_service"


@pytest.fixture(params=[pytest.param("http_service", marks=pytest.mark.slow), "fastapi_service"])
def launch(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Launch:
    """Starts one of the services, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    if request.param == "http_service":
        return functools.partial(cpp_service, request.getfixturevalue("http_service"))
    if any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn")):
        pytest.skip("needs fastapi and uvicorn")
    return python_service


@pytest.fixture
def service(launch: Launch, digits: Digits) -> Iterator[Service]:
    with serving(launch(digits.path, 0)) as running:
        yield running


def test_predictions_are_those_of_torch(service: Service, digits: Digits) -> None:
    generator = np.random.default_rng(0)
    images = [np.zeros(784, int), np.full(784, 255), *generator.integers(0, 256, (20, 784))]
    found = set()
    for image in images:
        expected = digits.scores(image)
        for as_json in (False, True):
            answer = service.predict(image, as_json=as_json)
            np.testing.assert_allclose(answer["scores"], expected, atol=1e-5)
            assert answer["digit"] == np.argmax(answer["scores"])
        found.add(answer["digit"])
    assert len(found) > 2
    between = np.linspace(0, 255, 784)
    answer = service.predict(between, as_json=True)
    np.testing.assert_allclose(answer["scores"], digits.scores(between), atol=1e-5)


def test_clients_at_the_same_time(service: Service, digits: Digits) -> None:
    images = np.random.default_rng(1).integers(0, 256, (40, 784))
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(service.predict, images))
    for image, answer in zip(images, answers, strict=True):
        np.testing.assert_allclose(answer["scores"], digits.scores(image), atol=1e-5)


def test_health(service: Service) -> None:
    health = {"status": "ok", "layers": 5, "library": vc.__version__}
    assert service.ask("GET", "/health") == (200, health)


JSON = "application/json"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (bytes(783), "application/octet-stream", 400),
        (bytes(785), "application/octet-stream", 400),
        (b"pixels", JSON, 400),
        (b"[" * 60_000, JSON, 400),
        (b"\xff", JSON, 400),
        (b"7", JSON, 400),
        (b"{}", JSON, 400),
        (b'{"pixels": 784}', JSON, 400),
        (b'{"pixels": {}}', JSON, 400),
        (json.dumps({"pixels": [0] * 783}).encode(), JSON, 400),
        (json.dumps({"pixels": [0] * 783 + [256]}).encode(), JSON, 400),
        (json.dumps({"pixels": [0] * 783 + [-1]}).encode(), JSON, 400),
        (json.dumps({"pixels": [0] * 783 + ["7"]}).encode(), JSON, 400),
        (json.dumps({"pixels": [0] * 783 + [True]}).encode(), JSON, 400),
        (json.dumps({"pixels": [0] * 783 + [None]}).encode(), JSON, 400),
        (bytes(70_000), "application/octet-stream", 413),
    ],
)
def test_requests_that_make_no_sense(service: Service, body: bytes, kind: str, status: int) -> None:
    found, answer = service.ask("POST", "/predict", body, kind)
    assert (found, len(answer)) == (status, 1)
    assert "send" in next(iter(answer.values()))
    assert service.ask("GET", "/health")[0] == 200


def test_unknown_paths(service: Service) -> None:
    assert service.ask("GET", "/nothing")[0] == 404


def test_a_service_listens_on_this_machine_only(service: Service) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Another of this machine's addresses, at which a service on all of them would answer.
        assert probe.connect_ex(("127.0.0.2", service.port)) != 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_service(service: Service, number: signal.Signals) -> None:
    with service.connection() as idle:
        idle.request("GET", "/health")
        idle.getresponse().read()
        service.process.send_signal(number)
        # Uvicorn ends by the signal itself when all is closed.
        assert service.process.wait(DEADLINE) in (0, -number)
    log = service.log.read_text("utf-8")
    assert re.search(r"stopped|Application shutdown complete", log)
    assert "Traceback" not in log


@pytest.mark.parametrize("which", BROKEN)
def test_services_do_not_start_with_a_broken_archive(
    launch: Launch, broken: dict[str, Path], which: str
) -> None:
    process = launch(broken[which], 0)
    assert process.wait(DEADLINE) in (1, 3)
    lines = Path(LOG).read_text("utf-8").splitlines()
    assert sum(str(broken[which]) in line for line in lines) == 1
    # Of a server that speaks of itself, the lines that are not about this.
    others = r"INFO: .*|ERROR: +Application startup failed. Exiting."
    assert len([line for line in lines if not re.fullmatch(others, line)]) == 1


@pytest.mark.slow
def test_the_cpp_service_says_what_is_wrong_with_its_arguments(
    http_service: Path, digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def refused(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [str(http_service), *arguments], capture_output=True, text=True, timeout=DEADLINE
        )
        assert done.stdout == "" and done.stderr.count("\n") == 1
        return done.returncode, done.stderr

    assert refused() == (2, "usage: http_service ARCHIVE PORT (0: any that is free)\n")
    for port in ("x", "-1", "65536", "80x", ""):
        code, message = refused(str(digits.path), port)
        assert (code, f"the port '{port}' is not" in message) == (1, True)
    with serving(cpp_service(http_service, digits.path, 0)) as running:
        code, message = refused(str(digits.path), str(running.port))
        assert (code, "already in use" in message) == (1, True)


# The program in C


@pytest.fixture(scope="module")
def tensors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C program's executable."""
    return cmake_build(EXAMPLES / "c_program", tmp_path_factory.mktemp("c")) / "tensors"


@pytest.fixture(scope="module")
def sample() -> Sample:
    return make_sample()


@pytest.fixture
def path(sample: Sample, tmp_path: Path) -> Path:
    path = tmp_path / "model.vaec"
    path.write_bytes(sample.data)
    return path


def test_the_c_program_lists_tensors(tensors: Path, path: Path, sample: Sample) -> None:
    assert run(str(tensors), str(path)).splitlines() == [
        f"{name}\t{_core.dtype_name(array.dtype)}\t{list(array.shape)}"
        for name, array in sample.arrays.items()
    ]


def test_the_c_program_writes_bytes(
    tensors: Path, path: Path, sample: Sample, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for name, array in sample.arrays.items():
        run(str(tensors), "-o", str(out), str(path), name)
        assert out.read_bytes() == array.tobytes(), name
        if array.ndim > 0 and len(array) > 2:
            run(str(tensors), "-o", str(out), str(path), name, "1", "2")
            assert out.read_bytes() == array[1:3].tobytes(), name


def test_the_c_program_prints_statistics(tensors: Path, path: Path, sample: Sample) -> None:
    described = 0
    for name, array in sample.arrays.items():
        if _core.dtype_name(array.dtype) not in DESCRIBED:
            continue
        values = array.astype(np.float64)
        if array.size == 0 or not np.isfinite(values).all():
            continue
        printed = dict(line.split() for line in run(str(tensors), str(path), name).splitlines())
        assert int(printed["elements"]) == array.size
        scale = np.abs(values).max()
        for key, expected in (
            ("minimum", values.min()),
            ("maximum", values.max()),
            ("mean", values.mean()),
            ("deviation", values.std()),
        ):
            assert float(printed[key]) == pytest.approx(expected, rel=1e-6, abs=1e-9 * scale), name
        described += 1
    assert described > 25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "the archive has no tensor 'missing' (invalid argument)"),
        (["encoder.weight", "30", "1"], "the tensor has fewer rows (invalid argument)"),
        (["encoder.weight", "0", "31"], "the tensor has fewer rows (invalid argument)"),
        (["scalar", "0", "1"], "the tensor has fewer rows (invalid argument)"),
        (["exact.complex64"], "no statistics of this dtype; write its bytes with -o"),
        (["empty"], "there are no elements to describe"),
    ],
)
def test_the_c_program_refuses(
    tensors: Path, path: Path, arguments: list[str], message: str
) -> None:
    done = subprocess.run([tensors, path, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"tensors: {path}: {message}") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("which", BROKEN)
def test_the_c_program_refuses_a_broken_archive(
    tensors: Path, broken: dict[str, Path], which: str
) -> None:
    command = [tensors, broken[which], "layers.4.weight"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"tensors: {broken[which]}: ") and done.stderr.count("\n") == 1


def test_the_c_program_reads_and_holds_little(tensors: Path, tmp_path: Path) -> None:
    path = tmp_path / "large.vaec"
    weights = np.random.default_rng(0).standard_normal((40_000, 64)).astype(np.float32)
    vc.compress({"embedding": weights}, path, codec="quantized", bits_per_weight=4)
    done = subprocess.run(
        [tensors, path, "embedding", "20000", "3"], capture_output=True, text=True, check=True
    )
    read, held = map(int, re.findall(r"\d+", done.stderr))
    assert 0 < read < path.stat().st_size / 5
    assert 0 < held < weights.nbytes / 5


def test_the_c_program_says_how_it_is_used(tensors: Path, path: Path) -> None:
    for arguments in ([], [path, "a", "1"], [path, "a", "1", "x"], ["-o", "x", path], ["-z", path]):
        done = subprocess.run([tensors, *arguments], capture_output=True, text=True)
        assert done.returncode == 2
        assert "usage: tensors" in done.stderr


# docs/embedding.md


PAGE = ROOT / "docs" / "embedding.md"
PROJECT = """
cmake_minimum_required(VERSION 3.16)
project(embedding LANGUAGES C CXX)
set(CMAKE_CXX_STANDARD 17)
find_package(vaecomp CONFIG REQUIRED)
add_compile_options(-Wall -Wextra -Werror)
add_executable(c main.c)
add_executable(cpp main.cpp)
target_link_libraries(c PRIVATE vaecomp::vaecomp)
target_link_libraries(cpp PRIVATE vaecomp::vaecomp)
"""
INCLUDES = {
    "c": ["fcntl.h", "stdio.h", "stdlib.h", "string.h", "unistd.h", "vaecomp.h"],
    "cpp": [
        *("atomic", "cassert", "cstring", "iostream", "thread", "vector"),
        "vaecomp.hpp",
    ],
}


def blocks(language: str) -> list[tuple[int, str]]:
    """The page's blocks in a language, each with its first line's number."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [(text.count("\n", 0, match.start(1)) + 1, match[1]) for match in found]


def program(language: str) -> str:
    """The page's blocks as one program: functions, and the rest in `main`, one behind another."""
    numbered = [(code, f'#line {line} "embedding.md"\n{code}') for line, code in blocks(language)]
    functions = [text for code, text in numbered if code.startswith("static ")]
    statements = [text for code, text in numbered if not code.startswith("static ")]
    includes = [f"#include <{name}>" for name in INCLUDES[language]]
    lines = [*includes, *functions, "int main(void) {", *statements, "return 0; }", ""]
    return "\n".join(lines)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's archives, in the current directory."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    shapes = {"embedding.weight": (1000, 64), "fc.weight": (10, 64), "fc.bias": (10,)}
    weights = {
        name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()
    }
    vc.compress(weights, "model.vaec", codec="quantized", bits_per_weight=4)
    pack = make_pack()
    (tmp_path / "fleet.vaepack").write_bytes(pack.data)
    for seed, name in enumerate(("anna", "ben")):
        (tmp_path / f"{name}.vaec").write_bytes(make_member(pack, seed).data)
    return tmp_path


def test_embedding_in_c_and_cpp(model: Path) -> None:
    (model / "CMakeLists.txt").write_text(PROJECT, encoding="utf-8")
    for language in INCLUDES:
        assert len(blocks(language)) > 5
        (model / f"main.{language}").write_text(program(language), encoding="utf-8")
    build = cmake_build(model, model / "build")
    assert run(str(build / "c"), cwd=model) == ""
    assert "fc.bias float32 10\n" in run(str(build / "cpp"), cwd=model)


def test_embedding_in_python(model: Path) -> None:
    scope: dict[str, object] = {}
    for line, code in blocks("python"):
        exec(compile("\n" * (line - 1) + code, "docs/embedding.md", "exec"), scope)
    assert "again" in scope
