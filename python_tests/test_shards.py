"""Archives in shards: any tensors and shard sizes, malformed indexes, interruption, memory."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
import safetensors.numpy
import torch

import vaecomp_native as vc
from vaecomp_native.cli import main
from vaecomp_native.compression import groups, pipeline
from vaecomp_native.exporting import export
from vaecomp_native.io import sinks
from vaecomp_native.io.checkpoints import stored
from vaecomp_native.state_dict import find_state_dict

Array = npt.NDArray[Any]
DTYPES = ("float32", "float16", ml_dtypes.bfloat16, "float64", "int32", "bool", "uint8")
INDEX = "model.vaec.index.json"
SMALL_SECTIONS = 20_000


@pytest.fixture
def small_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of a few thousand bytes are large."""
    for module in (groups, pipeline):
        monkeypatch.setattr(module, "SECTION_BYTES", SMALL_SECTIONS)


def tensors(seed: int, count: int = 12) -> dict[str, Array]:
    """Tensors of many shapes and dtypes, some of them tied."""
    random = np.random.default_rng(seed)
    found: dict[str, Array] = {}
    for number in range(count):
        shape = tuple(random.integers(0 if number % 5 == 4 else 1, 60, random.integers(0, 4)))
        values = random.normal(size=shape) * 0.1 if shape else np.array(random.normal())
        found[f"t.{number}"] = np.asarray(values).astype(DTYPES[random.integers(len(DTYPES))])
    tied = random.choice(list(found), 2, replace=False)
    return found | {f"tied.{name}": found[name] for name in tied if found[name].size}


def matrices(seed: int, count: int = 8, rows: int = 64) -> dict[str, Array]:
    """Weights as they are in networks: matrices, gains and biases."""
    random = np.random.default_rng(seed)
    found: dict[str, Array] = {}
    for number in range(count):
        found[f"{number}.weight"] = random.normal(size=(rows, 96)).astype(np.float32) * 0.05
        found[f"{number}.bias"] = random.normal(size=rows).astype(np.float32) * 0.1
        found[f"{number}.gain"] = 1 + random.random(rows).astype(np.float32)
    return found


def same(first: Mapping[str, Array], second: Mapping[str, Array]) -> bool:
    return list(first) == list(second) and all(
        first[name].dtype == second[name].dtype
        and first[name].shape == second[name].shape
        and first[name].tobytes() == second[name].tobytes()
        for name in first
    )


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def saved(directory: Path, arrays: Mapping[str, Array], shards: int = 2) -> Path:
    """Save a model as its host would: an index and shards."""
    names = list(arrays)
    parts = [names[number::shards] for number in range(shards)]
    weight_map = {}
    for number, part in enumerate(parts):
        shard = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        safetensors.numpy.save_file({n: arrays[n] for n in part}, directory / shard)
        weight_map |= dict.fromkeys(part, shard)
    index = directory / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


@pytest.mark.parametrize("codec", ["lossless", "raw"])
@pytest.mark.parametrize("seed", range(8))
def test_any_tensors_come_back_from_shards_of_any_size(
    tmp_path: Path, seed: int, codec: Any, small_sections: None
) -> None:
    arrays = tensors(seed)
    size = int(10 ** np.random.default_rng(seed).uniform(0, 6))
    out = tmp_path / INDEX
    report = vc.compress(arrays, out, codec=codec, max_shard_bytes=size)
    assert same(vc.decode(out), arrays)
    with vc.open(out) as archive:
        assert isinstance(archive, vc.ShardedArchive)
        assert same(dict(archive.items()), arrays)
        assert same({name: archive[name] for name in archive}, arrays)
        for name, array in arrays.items():
            if array.ndim:
                assert archive.rows(name, 1, -1).tobytes() == array[1:-1].tobytes()
    info = vc.verify(out)
    assert info == report.info and [one.name for one in info.tensors] == list(arrays)
    assert info.bytes["total"] == sum(path.stat().st_size for path in tmp_path.iterdir())
    decoded = vc.decode(out)
    assert all(decoded[f"tied.{n}"] is decoded[n] for n in arrays if f"tied.{n}" in arrays)
    for shard in tmp_path.glob("*.vaec"):
        with vc.open(shard) as own:
            info = own.info
        owners = sum(1 for one in info.tensors if one.alias_of is None and 0 not in one.shape)
        assert info.raw_bytes <= size or owners == 1


def test_quantized_shards_have_the_operating_point_of_one_file(tmp_path: Path) -> None:
    arrays = matrices(1)
    whole = vc.compress(arrays, tmp_path / "one.vaec", codec="quantized", rate_weight=0.01)
    parts = vc.compress(
        arrays, tmp_path / INDEX, codec="quantized", rate_weight=0.01, max_shard_bytes=60_000
    )
    assert len(list(tmp_path.glob("model-*.vaec"))) > 2
    assert parts.rate_weight == pytest.approx(whole.rate_weight)
    assert parts.relative_error == pytest.approx(whole.relative_error, rel=0.05)
    assert parts.kept_exact == whole.kept_exact
    assert same(vc.decode(tmp_path / INDEX), dict(vc.open(tmp_path / INDEX).items()))


@pytest.mark.parametrize("target", [{"bits_per_weight": 6}, {"target_bytes": 40_000}])
def test_a_size_holds_for_all_shards_together(tmp_path: Path, target: dict[str, Any]) -> None:
    arrays = matrices(2)
    report = vc.compress(arrays, tmp_path / INDEX, max_shard_bytes=100_000, **target)
    parameters = sum(array.size for array in arrays.values())
    goal = target.get("target_bytes", 6 * parameters / 8)
    assert report.codec == "quantized" and report.info.bytes["total"] <= goal
    (tmp_path / "none").mkdir()
    for codec, size in (("lossless", 5_000), ("raw", 199_000), ("quantized", 1_000)):
        with pytest.raises(vc.UnreachableError, match="ask for more"):
            vc.compress(arrays, tmp_path / "none" / INDEX, codec=codec, target_bytes=size)  # type: ignore[arg-type]
    assert not list((tmp_path / "none").iterdir())


def test_one_large_file_has_several_sections_and_the_same_tensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = matrices(3)
    options: dict[str, Any] = {"codec": "quantized", "rate_weight": 0.01}
    whole = vc.compress(arrays, tmp_path / "whole.vaec", **options)
    for module in (groups, pipeline):
        monkeypatch.setattr(module, "SECTION_BYTES", SMALL_SECTIONS)
    safetensors.numpy.save_file(arrays, tmp_path / "model.safetensors")
    parts = vc.compress(tmp_path / "model.safetensors", tmp_path / "parts.vaec", **options)
    in_memory = vc.compress(arrays, tmp_path / "memory.vaec", **options)
    assert parts.relative_error == pytest.approx(whole.relative_error, rel=0.05)
    assert in_memory.info.bytes == parts.info.bytes
    vc.compress(arrays, tmp_path / "exact.vaec", codec="lossless")
    assert same(vc.decode(tmp_path / "exact.vaec"), arrays)


def test_large_files_are_read_a_few_tensors_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_sections: None
) -> None:
    index = saved(tmp_path, matrices(4))
    alive: list[int] = []
    read = stored.StoredTensors.__getitem__
    monkeypatch.setattr(
        stored.StoredTensors,
        "__getitem__",
        lambda own, name: alive.append(own.places[name].nbytes) or read(own, name),
    )
    vc.compress(index, tmp_path / INDEX, codec="lossless", max_shard_bytes=60_000)
    total = sum(array.nbytes for array in matrices(4).values())
    assert total <= sum(alive) <= 2 * total  # once to encode, and some for the estimate


def test_codecs_that_need_all_weights_at_once_refuse_shards(tmp_path: Path) -> None:
    out = tmp_path / INDEX
    for options in ({"codec": "vae"}, {"quantizer": "kmeans"}, {"evaluate": lambda module: 0.0}):
        with pytest.raises(vc.ShardingError, match="one file"):
            vc.compress({"a": np.zeros(3)}, out, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="index as output"):
        vc.compress({"a": np.zeros(3)}, tmp_path / "a.vaec", max_shard_bytes=5)
    with pytest.raises(ValueError, match="max_shard_bytes"):
        vc.compress({"a": np.zeros(3)}, out, max_shard_bytes=0)
    with pytest.raises(vc.ShardingError, match="local directory"):
        vc.compress({"a": np.zeros(3)}, f"memory://{INDEX}")
    assert not list(tmp_path.iterdir())


def changed(index: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(index.read_bytes())
    change(content)
    index.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("weight_map"), "weight_map"),
        (lambda c: c.update(weight_map=[]), "weight_map"),
        (lambda c: c["weight_map"].update(x=3), "not a file's name"),
        (lambda c: c["weight_map"].update(x="../model-00001-of-00002.vaec"), "beside the index"),
        (lambda c: c["weight_map"].update(x="/etc/passwd"), "beside the index"),
        (lambda c: c["weight_map"].update(x=".."), "beside the index"),
        (lambda c: c["weight_map"].update(x="a\0b"), "beside the index"),
        (lambda c: c["weight_map"].update(x="model-00001-of-00002.vaec"), "does not hold tensor"),
        (lambda c: c["weight_map"].pop("0.weight"), "holds tensor '0.weight'"),
        (lambda c: c.pop("metadata"), "SHA-256"),
        (lambda c: c["metadata"].update(shards=[]), "SHA-256"),
        (lambda c: c["metadata"]["shards"]["model-00001-of-00002.vaec"].pop("start"), "start"),
        (
            lambda c: c["metadata"]["shards"]["model-00001-of-00002.vaec"].update(start="00"),
            "all of one run",
        ),
    ],
)
def test_malformed_indexes_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    out = tmp_path / INDEX
    vc.compress(matrices(5, 2), out, codec="lossless", max_shard_bytes=30_000)
    changed(out, change)
    with pytest.raises(vc.ArchiveError, match=message) as caught:
        vc.open(out)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"weight_map": 1}'])
def test_bytes_that_are_no_index_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / INDEX).write_bytes(data)
    with pytest.raises(vc.ArchiveError, match="not an index of shards"):
        vc.open(tmp_path / INDEX)


def test_shards_of_another_run_are_found_when_they_are_opened(tmp_path: Path) -> None:
    for name, seed in (("a", 6), ("b", 7)):
        (tmp_path / name).mkdir()
        vc.compress(matrices(seed), tmp_path / name / INDEX, codec="raw", max_shard_bytes=60_000)
    shard = next((tmp_path / "a").glob("*.vaec"))
    assert shard.stat().st_size == (tmp_path / "b" / shard.name).stat().st_size
    shutil.copy(tmp_path / "b" / shard.name, shard)
    with pytest.raises(vc.ArchiveError, match="not the file that the index names"):
        vc.decode(tmp_path / "a" / INDEX)
    shard.unlink()
    with pytest.raises(vc.ArchiveError, match="is not beside the index"):
        vc.open(tmp_path / "a" / INDEX)


def test_verify_finds_a_damaged_shard(tmp_path: Path) -> None:
    out = tmp_path / INDEX
    vc.compress(matrices(8), out, codec="lossless", max_shard_bytes=60_000)
    shard = sorted(tmp_path.glob("*.vaec"))[1]
    data = bytearray(shard.read_bytes())
    data[-100] ^= 1
    shard.write_bytes(data)
    with pytest.raises(vc.ArchiveError, match=shard.name):
        vc.verify(out)


def test_an_index_stands_for_its_archive_everywhere(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(40, 30), torch.nn.Linear(30, 20))
    out = tmp_path / INDEX
    vc.compress(module, out, codec="lossless", max_shard_bytes=3_000)
    other = torch.nn.Sequential(torch.nn.Linear(40, 30), torch.nn.Linear(30, 20))
    vc.load_into(other, out)
    assert torch.equal(other[0].weight, module[0].weight)
    assert torch.equal(vc.torch.load(out)["1.bias"], module[1].bias)
    vc.compress(out, tmp_path / "one.vaec", codec="raw")
    assert same(vc.decode(tmp_path / "one.vaec"), vc.decode(out))
    with pytest.raises(vc.OverwriteError):
        vc.compress(out, out, codec="raw")
    with pytest.raises(vc.ArchiveError, match="pack"):
        vc.open(out, pack=tmp_path / "one.vaec")
    with pytest.raises(vc.ArchiveError, match="one file is needed"):
        vc.open(tmp_path / "one.vaec", pack=out)
    target = {"0.weight": np.empty((30, 40), np.float32)}
    assert vc.decode(out, names=["0.weight"], out=target)["0.weight"] is target["0.weight"]
    with pytest.raises(KeyError):
        vc.decode(out, names=["absent"])


def test_indexes_are_read_from_urls(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    arrays = matrices(9, 3)
    vc.compress(arrays, tmp_path / INDEX, codec="lossless", max_shard_bytes=30_000)
    fsspec.filesystem("memory").put(f"{tmp_path}/", "/shards/", recursive=True)
    assert same(vc.decode(f"memory://shards/{INDEX}"), arrays)


@pytest.mark.parametrize("shards", [True, False])
def test_the_command_line_decodes_to_files_that_safetensors_reads(
    tmp_path: Path, shards: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = matrices(10) | {"half": np.ones((3, 5), ml_dtypes.bfloat16)}
    source = saved(tmp_path, arrays)
    name = "back.safetensors.index.json" if shards else "back.safetensors"
    size = ["--max-shard-bytes", "60kB"]
    for arguments in (
        ["compress", str(source), str(tmp_path / INDEX), "--codec=lossless", *size],
        ["inspect", str(tmp_path / INDEX)],
        ["verify", str(tmp_path / INDEX)],
        ["decode", str(tmp_path / INDEX), str(tmp_path / name), *size],
    ):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0, capsys.readouterr().err
    written = sorted(tmp_path.glob("back*.safetensors"))
    assert len(written) > 2 if shards else len(written) == 1
    found: dict[str, Array] = {}
    for file in written:
        found |= safetensors.numpy.load_file(file)
    assert same({n: found[n] for n in arrays}, arrays)
    state = find_state_dict(tmp_path / name)
    decoded = vc.decode(tmp_path / INDEX)
    assert state is not None
    assert same({n: state.arrays[n] for n in decoded}, decoded)


def test_an_old_index_does_not_name_shards_of_two_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second run fails at its last shard, when the first ones are replaced."""
    vc.compress(matrices(12), tmp_path / INDEX, codec="lossless", max_shard_bytes=60_000)
    out = tmp_path / "back.safetensors.index.json"
    command = ["decode", str(tmp_path / INDEX), str(out), "--max-shard-bytes=60kB"]
    with pytest.raises(SystemExit) as first:
        main(command)
    assert first.value.code == 0 and out.is_file()
    last = sorted(tmp_path.glob("model-*.vaec"))[-1]
    data = bytearray(last.read_bytes())
    data[-100] ^= 1
    last.write_bytes(data)
    with pytest.raises(SystemExit) as second:
        main(command)
    assert second.value.code != 0 and last.name in capsys.readouterr().err
    assert not out.exists()


def test_written_safetensors_files_are_those_of_the_library(tmp_path: Path) -> None:
    arrays = tensors(11) | {"äöü\n": np.arange(3), "c": np.ones(2, np.complex64)}
    arrays = {name: array for name, array in arrays.items() if not name.startswith("tied")}
    vc.compress(arrays, tmp_path / "a.vaec", codec="lossless")
    with vc.open(tmp_path / "a.vaec") as archive:
        export(archive, tmp_path / "own.safetensors", max_shard_bytes=1)
    safetensors.numpy.save_file(arrays, tmp_path / "theirs.safetensors")
    own, theirs = (tmp_path / f"{name}.safetensors" for name in ("own", "theirs"))
    assert own.read_bytes() == theirs.read_bytes()


COMPRESS = """
import os, sys, time
import vaecomp_native as vc
from vaecomp_native.compression import groups, pipeline
groups.SECTION_BYTES = pipeline.SECTION_BYTES = 20_000
def slow(stage, done, total, metrics):
    print(stage, done, flush=True)
    time.sleep(0.05)
vc.compress(sys.argv[1], sys.argv[2], bits_per_weight=5, max_shard_bytes=60_000, progress=slow)
"""


@pytest.mark.parametrize("steps", [3, 20, 26])
def test_a_killed_run_goes_on_and_makes_the_same_bytes(
    tmp_path: Path, steps: int, small_sections: None
) -> None:
    source = saved(tmp_path, matrices(12, 16))
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    options: dict[str, Any] = {"bits_per_weight": 5, "max_shard_bytes": 60_000}
    whole = vc.compress(source, tmp_path / "whole" / INDEX, **options)
    command = [sys.executable, "-c", COMPRESS, str(source), str(tmp_path / "killed" / INDEX)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(steps):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    left = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob("*.vaec")}
    assert not (tmp_path / "killed" / INDEX).exists()
    (tmp_path / "killed" / "model-00001-of-00003.vaec.part").write_bytes(b"left over")
    again = vc.compress(source, tmp_path / "killed" / INDEX, **options)
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")
    assert again.relative_error == whole.relative_error and again.kept_exact == whole.kept_exact
    for name, changed_at in left.items():
        assert (tmp_path / "killed" / name).stat().st_mtime_ns == changed_at


def interrupted_after(calls: int, error: BaseException) -> Callable[..., None]:
    def progress(stage: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        if stage == "compressing" and done == calls:
            raise error

    return progress


@pytest.mark.parametrize("change", ["options", "source", "shard"])
def test_what_was_made_of_something_else_is_made_again(
    tmp_path: Path, change: str, small_sections: None
) -> None:
    source = saved(tmp_path, matrices(13))
    out = tmp_path / "out" / INDEX
    out.parent.mkdir()
    options: dict[str, Any] = {"codec": "lossless", "max_shard_bytes": 60_000}
    with pytest.raises(KeyboardInterrupt):
        vc.compress(source, out, progress=interrupted_after(8, KeyboardInterrupt()), **options)
    left = sorted(out.parent.glob("*.vaec"))
    assert left and (out.parent / "model.vaec.journal").exists()
    if change == "options":
        options["codec"] = "raw"
    elif change == "source":
        saved(tmp_path, matrices(14))
    else:
        left[0].write_bytes(b"damaged")
    vc.compress(source, out, **options)
    (tmp_path / "whole").mkdir()
    vc.compress(source, tmp_path / "whole" / INDEX, **options)
    assert files_of(out.parent) == files_of(tmp_path / "whole")


def test_two_runs_do_not_write_the_same_output(tmp_path: Path, small_sections: None) -> None:
    source = saved(tmp_path, matrices(15))

    def again(stage: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        with pytest.raises(vc.VaecompError, match="another process"):
            vc.compress(source, tmp_path / INDEX, codec="raw")

    vc.compress(source, tmp_path / INDEX, codec="lossless", progress=again)


@pytest.mark.parametrize("what", ["changes", "vanishes"])
def test_a_source_that_changes_midway_is_noticed(
    tmp_path: Path, what: str, small_sections: None
) -> None:
    source = saved(tmp_path, matrices(16))
    shard = tmp_path / "model-00002-of-00002.safetensors"

    def change(stage: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        if stage == "compressing" and done == 6:
            if what == "changes":
                os.truncate(shard, shard.stat().st_size - 4)
            else:
                shard.unlink(missing_ok=True)

    with pytest.raises(vc.WeightsError, match="vanished" if what == "vanishes" else "changed"):
        vc.compress(
            source, tmp_path / INDEX, codec="lossless", max_shard_bytes=60_000, progress=change
        )
    assert not (tmp_path / INDEX).exists() and not list(tmp_path.glob("*.part"))
    assert list(tmp_path.glob("model-*.vaec"))


def test_a_disk_without_room_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_sections: None
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(sinks.shutil, "disk_usage", lambda path: usage(1, 1, 1000))
    for name in (INDEX, "model.vaec"):
        with pytest.raises(OSError, match="free some space") as caught:
            vc.compress(matrices(17), tmp_path / name, codec="raw")
        assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_an_old_archive_gives_way_with_all_its_shards(tmp_path: Path) -> None:
    arrays = matrices(18)
    vc.compress(arrays, tmp_path / INDEX, codec="raw", max_shard_bytes=40_000)
    (tmp_path / "model-of-mine.vaec").write_bytes(b"")
    vc.compress(arrays, tmp_path / INDEX, codec="raw", max_shard_bytes=100_000)
    named = set(json.loads((tmp_path / INDEX).read_bytes())["weight_map"].values())
    assert {path.name for path in tmp_path.glob("*.vaec")} == named | {"model-of-mine.vaec"}


LIMITED = """
import resource, sys
limit = int(sys.argv[1])
import vaecomp_native as vc
from vaecomp_native.compression import groups
groups.SECTION_BYTES = 1 << 26
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for options in ({"codec": "lossless"}, {"codec": "quantized", "bits_per_weight": 4}):
    vc.compress(sys.argv[2], sys.argv[3], max_shard_bytes=200_000_000, threads=2, **options)
vc.verify(sys.argv[3])
from vaecomp_native.cli import main
assert "torch" not in sys.modules
main(["decode", sys.argv[3], sys.argv[4]])
"""


@pytest.mark.slow
def test_weights_larger_than_the_memory_go_in_and_out(tmp_path: Path) -> None:
    limit = 700_000_000
    random = np.random.default_rng(0)
    block = (random.standard_normal((2048, 4096), np.float32) * 0.02).astype(ml_dtypes.bfloat16)
    for shard in range(4):
        arrays = {f"{shard}.{number}": block for number in range(16)}  # 268 MB
        safetensors.numpy.save_file(arrays, tmp_path / f"{shard}.safetensors")
    weight_map = {f"{s}.{n}": f"{s}.safetensors" for s in range(4) for n in range(16)}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    out, back = tmp_path / INDEX, tmp_path / "back.safetensors.index.json"
    subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), str(index), str(out), str(back)], check=True
    )
    assert sum(path.stat().st_size for path in tmp_path.glob("?.safetensors")) > limit
    assert json.loads(back.read_bytes())["weight_map"].keys() == weight_map.keys()
