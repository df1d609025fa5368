"""The command line in real processes on real files: results, errors, exit codes, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import vaecomp_native as vc

COMMANDS = ("compress", "decode", "inspect", "verify", "demo")


def vaecomp(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vaecomp_native", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def fails(run: subprocess.CompletedProcess[str], *texts: str, code: int = 1) -> None:
    """The run printed one line about what is wrong on stderr and nothing on stdout."""
    assert run.returncode == code, run.stderr
    assert run.stdout == ""
    assert run.stderr.startswith("vaecomp: ")
    assert run.stderr.count("\n") == 1
    for text in texts:
        assert text in run.stderr


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        "fc.weight": generator.standard_normal((40, 100), np.float32),
        "fc.bias": generator.standard_normal(40).astype(np.float16),
        "größe": np.array(3, np.int64),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, np.ndarray]) -> Path:
    """A directory with model.safetensors, its archive, and the JSON that compress printed."""
    path = tmp_path_factory.mktemp("files")
    save_file(weights, path / "model.safetensors", metadata={"format": "np"})
    run = vaecomp(
        *("compress", path / "model.safetensors", path / "model.vaec"),
        *("--codec", "vae", "--epochs", "2", "--json"),
    )
    assert run.returncode == 0, run.stderr
    (path / "compress.json").write_text(run.stdout, encoding="utf-8")
    return path


def test_compress_prints_one_json_object_that_counts_every_byte(folder: Path) -> None:
    report = json.loads((folder / "compress.json").read_text(encoding="utf-8"))
    sizes = report["bytes"]
    total = sizes.pop("total")
    assert sum(sizes.values()) == total == (folder / "model.vaec").stat().st_size
    assert len(report["history"]) == 2
    assert [tensor["name"] for tensor in report["tensors"]] == list(
        vc.decode(folder / "model.vaec")
    )


def test_compress_takes_a_directory_and_prints_ratios_in_order(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    run = vaecomp("compress", tmp_path, tmp_path / "again.vaec", "--codec", "vae", "--epochs", "2")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.index("self-contained ratio") < run.stdout.index("latents only")
    assert "decoder not counted" in run.stdout
    # The same seed gives the same file.
    assert (tmp_path / "again.vaec").read_bytes() == (folder / "model.vaec").read_bytes()


def test_raw_codec_keeps_every_bit(
    folder: Path, tmp_path: Path, weights: dict[str, np.ndarray]
) -> None:
    archive = tmp_path / "raw.vaec"
    assert vaecomp("compress", folder, archive, "--codec", "raw").returncode == 0
    decoded = vc.decode(archive)
    assert all(decoded[name].tobytes() == array.tobytes() for name, array in weights.items())


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with tensors for all codecs."""
    generator = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("source") / "model.safetensors"
    arrays = {
        "fc.weight": generator.standard_normal((60, 80)).astype(np.float16),
        "fc.bias": generator.standard_normal(60).astype(np.float16),
        "ids": np.zeros((50, 50), np.int64),
        "gain": np.ones(40, np.float32),
    }
    save_file(arrays, path)
    return path


def test_by_default_the_smallest_codec_is_taken_and_the_others_are_listed(
    source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.vaec"
    run = vaecomp("compress", source, out)
    assert (run.returncode, run.stderr) == (0, "")
    total = vc.verify(out).bytes["total"]
    assert f"{total:,}" in run.stdout
    lines = run.stdout.splitlines()
    assert any("quantized" in line and "chosen" in line for line in lines)
    assert any("lossless" in line and "~" in line and "would take about" in line for line in lines)
    assert not any(line.startswith("vae") for line in lines)
    assert "codec quantized; squared error of the weights: 0." in run.stdout
    for part in ("container", "weights", "tables", "passthrough"):
        assert part in run.stdout


def test_inspect_names_the_codecs_of_tensors(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.vaec"
    assert vaecomp("compress", source, out, "--codec", "quantized").returncode == 0
    run = vaecomp("inspect", out)
    rows = {line.split()[0]: line.split()[-1] for line in run.stdout.splitlines() if line.strip()}
    assert rows["fc.weight"] == rows["fc.bias"] == "quantized"
    assert rows["ids"] == rows["gain"] == "lossless"


@pytest.mark.parametrize(
    ("options", "least", "most"),
    [
        (["--bits-per-weight", "2"], 1807, 1850),
        (["--target-bytes", "2kB"], 1960, 2000),
        (["--target-bytes", "1.5 KiB"], 1505, 1536),
        (["--rate-weight", "0.3"], 500, 1500),
        (["--codec", "lossless"], 5000, 9700),
        (["--codec", "quantized", "--quantizer", "uniform", "--target-bytes", "3000"], 2900, 3000),
    ],
    ids=["bits", "kB", "KiB", "rate weight", "lossless", "uniform"],
)
def test_sizes_are_what_was_asked_for(
    options: list[str], least: int, most: int, source: Path, tmp_path: Path
) -> None:
    run = vaecomp("compress", source, tmp_path / "out.vaec", "--json", *options)
    assert (run.returncode, run.stderr) == (0, "")
    report = json.loads(run.stdout)
    assert least <= report["bytes"]["total"] <= most
    assert report["bytes"]["total"] == (tmp_path / "out.vaec").stat().st_size


def test_a_plan_writes_nothing(source: Path, tmp_path: Path) -> None:
    for arguments in ([], [tmp_path / "out.vaec"]):
        run = vaecomp("compress", source, *arguments, "--plan", "--target-bytes", "2kB")
        assert (run.returncode, run.stderr) == (0, "")
        for text in (
            *("quantized (data-free)", "exact (integer)", "exact (one value)"),
            *("codec quantized: would be tried", "codec lossless: would take about"),
            "at most 2,000 bytes",
        ):
            assert text in run.stdout
    planned = json.loads(vaecomp("compress", source, "--plan", "--json").stdout)
    assert planned["target"]["weight_bits"] == 5
    assert [one["name"] for one in planned["tensors"]] == sorted(load_file(source))
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_reached_is_one_line(source: Path, tmp_path: Path) -> None:
    run = vaecomp("compress", source, tmp_path / "out.vaec", "--target-bytes", "30", "--json")
    fails(run, "no archive of 30 bytes", "smallest")
    run = vaecomp(
        "compress", source, tmp_path / "out.vaec", "--codec", "raw", "--target-bytes", "1k"
    )
    fails(run, "codec 'raw' takes", "more than 1,000")
    assert not list(tmp_path.iterdir())


def test_outliers_are_named_in_one_line(tmp_path: Path) -> None:
    odd = np.random.default_rng(0).standard_normal((30, 40)).astype(np.float32)
    odd[1, 2] = 1e8
    save_file({"odd": odd, "w": np.zeros((3, 3), np.float32)}, tmp_path / "in.safetensors")
    out = tmp_path / "out.vaec"
    run = vaecomp("compress", tmp_path / "in.safetensors", out, "--codec", "quantized")
    assert run.returncode == 0
    assert run.stderr.startswith("vaecomp: tensor 'odd' is stored without loss")
    assert run.stderr.count("\n") == 1


def test_the_help_points_to_python_for_calibration() -> None:
    text = " ".join(vaecomp("compress", "--help").stdout.split())
    assert "calibration=" in text
    assert "Python" in text


def test_decode_writes_what_the_library_decodes(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "decoded.safetensors"
    run = vaecomp("decode", folder / "model.vaec", out)
    assert (run.returncode, run.stderr) == (0, "")
    written, expected = load_file(out), vc.decode(folder / "model.vaec")
    assert written.keys() == expected.keys()
    for name, array in expected.items():
        assert written[name].dtype == array.dtype
        assert written[name].shape == array.shape
        assert written[name].tobytes() == array.tobytes()
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_decode_picks_tensors(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "part.safetensors"
    run = vaecomp(
        *("decode", folder / "model.vaec", out, "--json"),
        *("--tensor", "fc.bias", "--tensor", "größe", "--tensor", "fc.bias"),
    )
    assert json.loads(run.stdout)["tensors"] == 2
    assert sorted(load_file(out)) == ["fc.bias", "größe"]


def test_inspect_lists_tensors_and_bytes(folder: Path) -> None:
    run = vaecomp("inspect", folder / "model.vaec")
    assert (run.returncode, run.stderr) == (0, "")
    for text in ("fc.weight", "40 x 100", "float16", "größe", "scalar", "passthrough", "total"):
        assert text in run.stdout


def test_inspect_and_verify_print_one_json_object(folder: Path) -> None:
    inspected = json.loads(vaecomp("inspect", folder / "model.vaec", "--json").stdout)
    verified = json.loads(vaecomp("verify", folder / "model.vaec", "--json").stdout)
    assert inspected["bytes"]["total"] == (folder / "model.vaec").stat().st_size
    assert verified == {"verified": True, **inspected}


def test_verify_accepts_an_intact_archive(folder: Path) -> None:
    run = vaecomp("verify", folder / "model.vaec")
    assert (run.returncode, run.stderr) == (0, "")
    assert "intact" in run.stdout


def test_archives_come_from_standard_input_and_urls(folder: Path, tmp_path: Path) -> None:
    archive, out = folder / "model.vaec", tmp_path / "out.safetensors"
    command = [sys.executable, "-m", "vaecomp_native", "decode", "-", str(out)]
    with archive.open("rb") as file:
        subprocess.run(command, stdin=file, check=True, capture_output=True)
    expected = vc.decode(archive)
    found = load_file(out)
    assert {name: array.tobytes() for name, array in found.items()} == {
        name: expected[name].tobytes() for name in found
    }
    assert "intact" in vaecomp("verify", archive.as_uri()).stdout


@pytest.mark.parametrize("command", ["inspect", "verify", "decode", "compress"])
def test_a_missing_file_is_named(command: str, tmp_path: Path) -> None:
    out = [tmp_path / "out"] if command in ("decode", "compress") else []
    fails(vaecomp(command, tmp_path / "absent.safetensors", *out), "absent.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["inspect", "verify", "decode"])
def test_a_file_that_is_no_archive_is_named(command: str, folder: Path, tmp_path: Path) -> None:
    out = [tmp_path / "out"] if command == "decode" else []
    run = vaecomp(command, folder / "model.safetensors", *out, "--json")
    fails(run, "model.safetensors", "magic")
    assert not list(tmp_path.iterdir())


def test_a_truncated_archive_is_refused(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "short.vaec"
    archive.write_bytes((folder / "model.vaec").read_bytes()[:-7])
    fails(vaecomp("verify", archive), "short.vaec")
    fails(vaecomp("decode", archive, tmp_path / "out.safetensors"), "short.vaec")
    assert [path.name for path in tmp_path.iterdir()] == ["short.vaec"]


def test_a_changed_byte_is_found_by_verify(folder: Path, tmp_path: Path) -> None:
    data = bytearray((folder / "model.vaec").read_bytes())
    data[-3] ^= 4
    (tmp_path / "changed.vaec").write_bytes(data)
    fails(vaecomp("verify", tmp_path / "changed.vaec", "--json"), "changed.vaec")


def test_an_unknown_tensor_is_named_with_the_closest_one(folder: Path, tmp_path: Path) -> None:
    run = vaecomp("decode", folder / "model.vaec", tmp_path / "out", "--tensor", "fc.wieght")
    fails(run, "'fc.wieght'", "did you mean 'fc.weight'?")
    assert not list(tmp_path.iterdir())


def test_nan_weights_are_kept_naming_the_tensor(tmp_path: Path) -> None:
    source, out = tmp_path / "nan.safetensors", tmp_path / "out.vaec"
    bad = np.array([1, np.nan], np.float32)
    save_file({"ok": np.zeros(3, np.float32), "bad": bad}, source)
    run = vaecomp("compress", source, out, "--codec", "quantized", "--json")
    assert run.returncode == 0
    assert run.stderr.startswith("vaecomp: tensor 'bad' is stored without loss: it holds NaN")
    kept = json.loads(run.stdout)["kept_exact"]
    assert kept == {"NaN or infinite values": ["bad"], "one value": ["ok"]}
    assert vc.decode(out)["bad"].tobytes() == bad.tobytes()


def test_outputs_that_cannot_be_written_are_refused_before_training(
    folder: Path, tmp_path: Path
) -> None:
    source = folder / "model.safetensors"
    fails(vaecomp("compress", source, tmp_path / "no" / "out.vaec"), "does not exist", "create")
    fails(vaecomp("compress", source, tmp_path), "is a directory")
    file = tmp_path / "file"
    file.write_bytes(b"")
    fails(vaecomp("demo", "--out", file), "not a directory", "--out")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["compress", "only-one"], "OUT"),
        (["compress", "a", "b", "--latent", "0"], "--latent"),
        (["compress", "a", "b", "--decoder", "tiny"], "--decoder"),
        (["compress", "a", "b", "--codec", "zip"], "--codec"),
        (["compress", "a", "b", "--quantizer", "int4"], "--quantizer"),
        (["compress", "a", "b", "--target-bytes", "12 parsecs"], "no size"),
        (["compress", "a", "b", "--target-bytes", "0"], "--target-bytes"),
        (["compress", "a", "b", "--bits-per-weight", "nan"], "--bits-per-weight"),
        (["compress", "a", "b", "--rate-weight", "0"], "--rate-weight"),
        (["compress", "a", "b", "--rate-weight", "1", "--bits-per-weight", "1"], "give one"),
        (["compress", "a", "b", "--epochs", "many"], "--epochs"),
        (["inspect", "a", "--colour"], "--colour"),
        (["shrink"], "shrink"),
    ],
)
def test_wrong_usage_is_one_line_that_names_the_help(arguments: list[str], text: str) -> None:
    fails(vaecomp(*arguments), text, "--help", code=2)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_help_has_examples(command: str) -> None:
    run = vaecomp(*command.split(), "--help")
    assert (run.returncode, run.stderr) == (0, "")
    assert f"vaecomp {command}".strip() in run.stdout.partition("Examples:")[2]


def test_the_version_is_the_packages() -> None:
    run = vaecomp("--version")
    assert (run.returncode, run.stdout) == (0, f"vaecomp {vc.__version__}\n")


def test_the_command_line_starts_without_torch_and_matplotlib() -> None:
    code = "import sys, vaecomp_native.cli as c; print({'torch', 'matplotlib'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo"],
        ["compress", "model.safetensors", "out.vaec", "--codec", "vae"],
    ],
)
def test_without_torch_the_extra_is_named(
    arguments: list[str], folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    # None in sys.modules makes the import fail as it does where torch is not installed.
    code = "import sys; sys.modules['torch'] = None\nfrom vaecomp_native.cli import main\nmain()"
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    fails(run, "torch", 'pip install "vaecomp_native[train]"')


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_ctrl_c_leaves_no_file_and_says_so(tmp_path: Path) -> None:
    import pty

    source = tmp_path / "large.safetensors"
    generator = np.random.default_rng(0)
    save_file({"w": generator.standard_normal((100, 1000), np.float32)}, source)
    # On a terminal the bar shows when training has begun.
    terminal, child = pty.openpty()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "vaecomp_native", "compress", source),
            *(tmp_path / "out.vaec", "--codec", "vae"),
        ],
        stdout=subprocess.PIPE,
        stderr=child,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
        # A test run in the background of a shell ignores SIGINT, and its children would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(child)
    drawn = _read_until(terminal, b"train ")
    process.send_signal(signal.SIGINT)
    drawn += _read_until(terminal, None)
    stdout, _ = process.communicate(timeout=60)
    os.close(terminal)
    assert process.returncode == 130, drawn
    assert stdout == b""
    last = drawn.decode().rstrip().rsplit("\n", 1)[-1]
    assert last.endswith(f"vaecomp: interrupted; {tmp_path / 'out.vaec'} was not written")
    assert b"Traceback" not in drawn
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def _read_until(terminal: int, text: bytes | None) -> bytes:
    """What a process writes to its terminal, up to ``text`` or until it has closed it."""
    seen = b""
    while text is None or text not in seen:
        try:
            data = os.read(terminal, 4096)
        except OSError:  # Linux says so when the other end is closed
            break
        if not data:
            break
        seen += data
    return seen
