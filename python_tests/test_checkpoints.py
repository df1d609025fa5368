"""Files of every kind in, and what is said of those that cannot be read."""

from __future__ import annotations

import argparse
import json
import pathlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import vaecomp_native as vc
from vaecomp_native.errors import WeightsError
from vaecomp_native.state_dict import StateDict, read_state_dict

torch = pytest.importorskip("torch")
from safetensors.torch import save_file  # noqa: E402

STATE = {"weight": torch.arange(12.0).reshape(3, 4), "bias": torch.ones(3).bfloat16()}


def same(read: StateDict, expected: dict[str, Any] = STATE) -> bool:
    """Whether every tensor is there, bit for bit."""
    return {name: array.tobytes() for name, array in read.arrays.items()} == {
        name: tensor.contiguous().view(torch.uint8).numpy().tobytes()
        for name, tensor in expected.items()
    }


def saved(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def sharded(directory: Path, weight_map: Any, metadata: Any = None) -> Path:
    index = directory / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": metadata or {}, "weight_map": weight_map}))
    return index


@pytest.mark.parametrize("name", ["m.safetensors", "m.bin", "no-suffix"])
def test_the_kind_of_a_file_is_told_by_its_content(tmp_path: Path, name: str) -> None:
    save_file(STATE, tmp_path / name, {"format": "pt"})
    read = read_state_dict(tmp_path / name)
    assert same(read) and read.metadata == {"format": "pt"}
    shutil.copy(saved(tmp_path / "pickled", STATE), tmp_path / name)
    assert same(read_state_dict(tmp_path / name))


def test_a_header_of_any_length_leaves_arrays_right(tmp_path: Path) -> None:
    """Other writers pad the header to no multiple of the elements' size."""
    for length in range(8):
        file = tmp_path / f"{length}.safetensors"
        header = json.dumps({"w": {"dtype": "F64", "shape": [3], "data_offsets": [0, 24]}}).encode()
        header += b" " * length
        data = np.array([1.5, -2.0, 3.0])
        file.write_bytes(len(header).to_bytes(8, "little") + header + data.tobytes())
        array = read_state_dict(file).arrays["w"]
        assert array.flags.aligned and array.tobytes() == data.tobytes()


def test_arrays_are_matched_with_names_however_the_file_orders_them(tmp_path: Path) -> None:
    arrays = {
        "a": np.ones(3, np.int8),
        "b": np.arange(5, dtype=np.float64),
        "c": np.zeros((0, 4), np.float32),
        "d": np.array(7, np.int64),
        "e": np.arange(6, dtype=np.float16).reshape(2, 3),
        "f": np.zeros((2, 0), np.uint8),
    }
    safetensors.numpy.save_file(arrays, tmp_path / "m.safetensors")
    read = read_state_dict(tmp_path / "m.safetensors")
    assert read.names == tuple(arrays)
    for name, array in arrays.items():
        assert read.arrays[name].dtype == array.dtype
        assert read.arrays[name].shape == array.shape
        assert read.arrays[name].tobytes() == array.tobytes()


def test_a_dtype_that_nothing_holds_is_named(tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    header = json.dumps({"w": {"dtype": "F6_E2M3", "shape": [4], "data_offsets": [0, 3]}}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + b"abc")
    with pytest.raises(WeightsError, match=r"'w'.*F6_E2M3|F6_E2M3"):
        read_state_dict(file)


def test_odd_numbers_of_four_bits_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    header = json.dumps({"w": {"dtype": "F4", "shape": [2, 3], "data_offsets": [0, 3]}}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + b"abc")
    with pytest.raises(WeightsError, match="'w'"):
        read_state_dict(file)


# Shards


def test_a_tensor_comes_from_the_shard_that_the_index_names(tmp_path: Path) -> None:
    stale = {"weight": torch.zeros(3, 4), "bias": STATE["bias"]}
    for first, second in ((STATE, stale), (stale, STATE)):
        save_file(first, tmp_path / "a.safetensors", {"format": "pt"})
        save_file(second, tmp_path / "b.safetensors", {"format": "pt", "more": "x"})
        right = "a" if first is STATE else "b"
        index = sharded(tmp_path, {"weight": f"{right}.safetensors", "bias": "b.safetensors"})
        read = read_state_dict(index)
        assert same(read)
        assert read.metadata["format"] == "pt"
        assert any("left out" in note and "bias" in note for note in read.notes) == (right == "a")


def test_metadata_of_shards_and_of_the_index_are_kept(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors", {"format": "pt", "part": "1"})
    save_file({"b": torch.ones(1)}, tmp_path / "b.safetensors", {"format": "pt", "part": "2"})
    index = sharded(
        tmp_path,
        {"a": "a.safetensors", "b": "b.safetensors"},
        {"total_size": 8, "quantization": {"bits": 4}},
    )
    assert read_state_dict(index).metadata == {
        "quantization": '{"bits": 4}',
        "format": "pt",
        "part": "1",
        "b.safetensors:part": "2",
    }


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"weight": "a.safetensors", "absent": "a.safetensors"}, "'absent'"),
        ({"weight": 5}, "5"),
        ({"weight": None}, "None"),
        ({"weight": ["a.safetensors"]}, "not a file's name"),
        ({"weight": "../a.safetensors"}, "beside the index"),
        ({"weight": "/etc/passwd"}, "beside the index"),
        ({"weight": ".."}, "beside the index"),
        ({"weight": ""}, "beside"),
        ({"weight": "absent.safetensors"}, "absent.safetensors"),
        (["weight"], "weight_map"),
        (None, "weight_map"),
    ],
)
def test_an_index_that_is_wrong_is_named(tmp_path: Path, weight_map: Any, message: str) -> None:
    save_file(STATE, tmp_path / "a.safetensors")
    index = sharded(tmp_path, weight_map)
    with pytest.raises(WeightsError, match=message) as caught:
        read_state_dict(index)
    assert str(index) in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", "null", '{"weight_map": {"a": "x", "a": "y"}}']
)
def test_an_index_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(text)
    with pytest.raises(WeightsError, match="index"):
        read_state_dict(index)


# Directories


def test_a_repository_is_read_as_hosts_read_it(tmp_path: Path) -> None:
    saved(tmp_path / "pytorch_model.bin", {"weight": torch.zeros(1)})
    save_file({"weight": torch.zeros(1)}, tmp_path / "model.fp16.safetensors")
    save_file(STATE, tmp_path / "model.safetensors")
    saved(tmp_path / "training_args.bin", {})
    saved(tmp_path / "optimizer.pt", {})
    (tmp_path / "config.json").write_text("{}")
    read = read_state_dict(tmp_path)
    assert same(read) and read.files == (tmp_path / "model.safetensors",)
    assert "model.safetensors" in read.notes[0] and "pytorch_model.bin" in read.notes[0]


def test_shards_of_an_index_are_no_models_of_their_own(tmp_path: Path) -> None:
    save_file({"weight": STATE["weight"]}, tmp_path / "m-1.safetensors")
    save_file({"bias": STATE["bias"]}, tmp_path / "m-2.safetensors")
    sharded(tmp_path, {"weight": "m-1.safetensors", "bias": "m-2.safetensors"})
    assert same(read_state_dict(tmp_path))
    save_file(STATE, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"2 models.*other\.safetensors"):
        read_state_dict(tmp_path)


def test_an_index_beside_a_whole_model_is_ambiguous_no_more(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, tmp_path / "m-1.safetensors")
    sharded(tmp_path, {"weight": "m-1.safetensors"})
    save_file(STATE, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"2 models.*index\.json.*model\.safetensors"):
        read_state_dict(tmp_path)


# PyTorch's files


@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_of_both_forms_and_their_ties(tmp_path: Path, zipped: bool) -> None:
    content = {**STATE, "tied": STATE["weight"], "part": STATE["weight"][1:]}
    path = saved(tmp_path / "m.pt", content, _use_new_zipfile_serialization=zipped)
    read = read_state_dict(path)
    assert read.aliases == {"tied": "weight"}
    assert same(read, {**STATE, "part": STATE["weight"][1:]})


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return pathlib.Path.touch, (pathlib.Path("executed"),)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_pickle_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(
        tmp_path / "m.pt", {**STATE, "evil": Evil()}, _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(WeightsError, match=r"run any code"):
        read_state_dict(path)
    assert not (tmp_path / "executed").exists()


def test_what_training_scripts_store_beside_a_model_is_no_obstacle(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "m.pt",
        {
            "model": STATE,
            "best": np.float64(0.5),
            "step": np.int64(7),
            "history": np.zeros(3),
            "args": argparse.Namespace(lr=1e-3),
        },
    )
    read = read_state_dict(path)
    assert same(read)
    assert read.notes == ("took 'model'", "left out 'best', 'step', 'history', 'args'")


@pytest.mark.parametrize("content", [torch.nn.Linear(2, 2), torch.ones(3), [torch.ones(3)], 5])
def test_pickles_of_other_things_are_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(WeightsError, match=r"state_dict\(\)"):
        read_state_dict(saved(tmp_path / "m.pt", content))


def test_damaged_files_are_weights_errors(tmp_path: Path) -> None:
    """Cut anywhere, and with any byte changed: a WeightsError, or a state dict; nothing else."""
    save_file(STATE, tmp_path / "m.safetensors")
    np.savez(tmp_path / "m.npz", **{"weight": STATE["weight"].numpy()})
    files = [
        tmp_path / "m.safetensors",
        tmp_path / "m.npz",
        saved(tmp_path / "m.pt", STATE),
        saved(tmp_path / "old.pt", STATE, _use_new_zipfile_serialization=False),
    ]
    generator = np.random.default_rng(0)
    damaged = tmp_path / "damaged"
    for file in files:
        data = file.read_bytes()
        cuts = {data[: int(end)] for end in np.linspace(0, len(data) - 1, 30)}
        changed = bytearray(data)
        for _ in range(30):
            position = int(generator.integers(0, min(len(data), 600)))
            changed = bytearray(data)
            changed[position] ^= int(generator.integers(1, 256))
            cuts.add(bytes(changed))
        for bad in cuts:
            damaged.write_bytes(bad)
            try:
                read_state_dict(damaged)
            except WeightsError as error:
                assert "\n" not in str(error) and "damaged" in str(error)


# Containers in containers


def test_one_state_dict_in_a_file_is_taken_and_several_are_listed(tmp_path: Path) -> None:
    both = {"model": STATE, "ema": {"shadow": STATE, "decay": 0.999}, "epoch": 5}
    with pytest.raises(WeightsError, match=r"'model', 'ema\.shadow'.*--key"):
        read_state_dict(saved(tmp_path / "m.pt", both))
    read = read_state_dict(tmp_path / "m.pt", "ema.shadow")
    assert same(read)
    assert read.notes == ("took 'ema.shadow'", "left out 'model', 'epoch', 'ema.decay'")
    with pytest.raises(WeightsError, match=r"'shadow' names no state dict.*'model'"):
        read_state_dict(tmp_path / "m.pt", "shadow")
    assert same(read_state_dict({"model": STATE}))


def test_optimizers_are_no_models(tmp_path: Path) -> None:
    module = torch.nn.Linear(4, 3)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    state = module.state_dict()
    read = read_state_dict(saved(tmp_path / "m.pt", {"net": state, "opt": optimizer.state_dict()}))
    assert same(read, state)
    with pytest.raises(WeightsError, match="no state dict"):
        read_state_dict(saved(tmp_path / "m.pt", optimizer.state_dict()))


# GGUF


def test_gguf_files_are_dequantized_and_say_so(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    values = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
    kind = gguf.GGMLQuantizationType.Q8_0
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_context_length(77)
    writer.add_token_list(["token"] * 100)
    writer.add_tensor("plain", values)
    writer.add_tensor("half", values.astype(np.float16))
    bfloat16 = gguf.GGMLQuantizationType.BF16
    writer.add_tensor("brain", gguf.quantize(values, bfloat16), raw_dtype=bfloat16)
    blocks = gguf.quantize(values, kind)
    writer.add_tensor("blocks", blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    read = read_state_dict(tmp_path / "m.gguf")
    expected = torch.from_numpy(values)
    assert same(
        read,
        {
            "plain": expected,
            "half": expected.half(),
            "brain": expected.bfloat16(),
            "blocks": torch.from_numpy(gguf.dequantize(blocks, kind)),
        },
    )
    assert read.metadata["gguf.llama.context_length"] == "77"
    assert "Q8_0" in read.notes[0] and "tokenizer.ggml.tokens" in read.notes[1]


# Archives


def test_an_archive_goes_in_again_with_its_ties_and_metadata(tmp_path: Path) -> None:
    tied = {**STATE, "tied": STATE["weight"]}
    save_file({name: STATE[name] for name in STATE}, tmp_path / "m.safetensors", {"format": "pt"})
    vc.compress(tied, tmp_path / "a.vaec", codec="lossless")
    shutil.copy(tmp_path / "a.vaec", tmp_path / "no-suffix")
    for source in (tmp_path / "a.vaec", tmp_path / "no-suffix", vc.open(tmp_path / "a.vaec")):
        vc.compress(source, tmp_path / "b.vaec", codec="raw")
        aliases = [one.alias_of for one in vc.open(tmp_path / "b.vaec").info.tensors]
        assert aliases == [None, None, "weight"]
    vc.compress(tmp_path / "m.safetensors", tmp_path / "a.vaec", codec="lossless")
    vc.compress(tmp_path / "a.vaec", tmp_path / "b.vaec", codec="raw")
    assert vc.open(tmp_path / "b.vaec").info.metadata == {"format": "pt"}


# What is not there


def test_paths_that_are_not_there_say_what_may_be_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path, message in (
        ("organization/model", "hub"),
        ("absent.safetensors", "no such file"),
        (tmp_path / "absent" / "m.pt", "directory .* does not exist"),
    ):
        with pytest.raises(FileNotFoundError, match=message):
            read_state_dict(path)
    with pytest.raises(WeightsError, match="URL"):
        read_state_dict("https://example.com/m.safetensors")
    with pytest.raises(WeightsError, match="holds no checkpoint"):
        read_state_dict(tmp_path)
