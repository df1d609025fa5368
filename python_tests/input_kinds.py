"""Inputs of every kind that people have, and what becomes of each on the command line.

usage: python python_tests/input_kinds.py docs/inputs.md    (writes the tables of that page again)

A kind is a row of docs/inputs.md. `vaecomp` runs in processes of its own, so that it has only the
modules that it imports itself.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

SHAPE = (64, 64)
BEGIN, END = "<!-- {} -->", "<!-- end -->"
LOSSY_CODECS = ("quantized", "latent")
Make = Callable[[Path], Path]


@dataclass(frozen=True)
class Kind:
    """A row: its name, what makes the input in a directory, and further arguments of compress."""

    name: str
    make: Make
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What the command line made of an input, without loss and by default.

    `safetensors` says whether the decoded tensors fit a safetensors file.
    """

    lossless: str
    default: str
    safetensors: str


def weights(dtype: torch.dtype) -> torch.Tensor:
    """A matrix of a dtype: normal numbers if it is a float of 16 bits or more, else any bits."""
    generator = torch.Generator().manual_seed(0)
    if dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        return torch.randn(SHAPE, generator=generator).to(dtype)
    size = torch.empty(0, dtype=dtype).element_size()
    bits = torch.randint(
        0, 2 if dtype == torch.bool else 256, (SHAPE[0], SHAPE[1] * size), generator=generator
    )
    return bits.to(torch.uint8).view(dtype)


def digest(tensor: torch.Tensor) -> str:
    """SHA-256 of a tensor's bytes in C order."""
    flat = tensor.detach().contiguous().reshape(-1)
    return hashlib.sha256(flat.view(torch.uint8).numpy().tobytes()).hexdigest()


def state() -> dict[str, torch.Tensor]:
    """A small state dict."""
    return {"weight": weights(torch.float32), "bias": weights(torch.bfloat16)[0].clone()}


def _safetensors(**tensors: torch.Tensor) -> Make:
    def make(directory: Path) -> Path:
        save_file(tensors, directory / "model.safetensors")
        return directory / "model.safetensors"

    return make


def _pickled(content: Any, name: str = "model.pt", **options: Any) -> Make:
    def make(directory: Path) -> Path:
        torch.save(content, directory / name, **options)
        return directory / name

    return make


def _sharded(directory: Path) -> Path:
    for name, tensor in state().items():
        save_file({name: tensor}, directory / f"model-{name}.safetensors", {"format": "pt"})
    index = {"weight_map": {name: f"model-{name}.safetensors" for name in state()}}
    path = directory / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    return path


def _sharded_pickles(directory: Path) -> Path:
    for name, tensor in state().items():
        torch.save({name: tensor}, directory / f"pytorch_model-{name}.bin")
    index = {"weight_map": {name: f"pytorch_model-{name}.bin" for name in state()}}
    path = directory / "pytorch_model.bin.index.json"
    path.write_text(json.dumps(index))
    return path


def _repository(directory: Path) -> Path:
    _sharded(directory)
    torch.save(state(), directory / "pytorch_model.bin")
    (directory / "config.json").write_text("{}")
    return directory


def _two_models(directory: Path) -> Path:
    save_file(state(), directory / "one.safetensors")
    save_file(state(), directory / "two.safetensors")
    return directory


def _npz(directory: Path) -> Path:
    np.savez_compressed(directory / "model.npz", weight=state()["weight"].numpy())
    return directory / "model.npz"


def _gguf(directory: Path) -> Path:
    writer = gguf.GGUFWriter(directory / "model.gguf", "llama")
    values = weights(torch.float32).numpy()
    writer.add_tensor("plain", values)
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor("blocks", gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return directory / "model.gguf"


def _text(name: str, content: str) -> Make:
    def make(directory: Path) -> Path:
        (directory / name).write_text(content)
        return directory / name

    return make


def _script(directory: Path) -> Path:
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), directory / "model.pt")
    return directory / "model.pt"


def _array(directory: Path) -> Path:
    np.save(directory / "model.npy", np.zeros(3))
    return directory / "model.npy"


def _objects(directory: Path) -> Path:
    np.savez(directory / "model.npz", weight=np.array([{}], object))
    return directory / "model.npz"


def _trained() -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    module = nn.Linear(64, 64)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.randn(4, 64)).sum().backward()
    optimizer.step()
    return module.state_dict(), optimizer.state_dict()


def _lightning() -> dict[str, Any]:
    model, optimizer = _trained()
    return {
        "pytorch-lightning_version": "2.5.0",
        "epoch": 3,
        "state_dict": model,
        "optimizer_states": [optimizer],
        "lr_schedulers": [],
        "callbacks": {"EarlyStopping": {"best_score": torch.tensor(0.5), "wait_count": 0}},
        "hyper_parameters": {"lr": 1e-3},
    }


def _training() -> dict[str, Any]:
    model, optimizer = _trained()
    return {
        "model": model,
        "optimizer": optimizer,
        "args": argparse.Namespace(lr=1e-3),
        "best": np.float64(0.5),
        "rng": torch.get_rng_state(),
    }


def _special(value: float) -> Make:
    tensor = weights(torch.float32)
    tensor[3, 5] = value
    return _safetensors(weight=tensor)


def _tied() -> dict[str, torch.Tensor]:
    tensor = weights(torch.float32)
    return {"embedding.weight": tensor, "head.weight": tensor}


DTYPES = (
    *("float64", "float32", "float16", "bfloat16", "complex64", "complex128", "complex32"),
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"),
)
MODULES: Mapping[str, Callable[[], nn.Module]] = {
    "Linear, Conv, BatchNorm": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(32, 10)
    ),
    "depthwise and transposed convolutions": lambda: nn.Sequential(
        nn.Conv2d(8, 8, 3, groups=8), nn.ConvTranspose2d(8, 4, 3)
    ),
    "LSTM with projections": lambda: nn.LSTM(16, 32, proj_size=8, num_layers=2),
    "GRU, bidirectional": lambda: nn.GRU(16, 32, bidirectional=True),
    "transformer layer": lambda: nn.TransformerEncoderLayer(32, 4, 64),
    "weight norm (parametrized)": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(64, 64)),
    "spectral norm (parametrized)": lambda: nn.utils.parametrizations.spectral_norm(
        nn.Linear(64, 64)
    ),
    "DataParallel": lambda: nn.DataParallel(nn.Linear(64, 64)),
    "averaged (swa_utils)": lambda: torch.optim.swa_utils.AveragedModel(nn.Linear(64, 64)),
    "half precision": lambda: nn.Linear(64, 64).bfloat16(),
    "frozen": lambda: nn.Linear(64, 64).requires_grad_(False),
    "quantization-aware (fake quantization)": lambda: nn.Sequential(
        torch.ao.quantization.FakeQuantize(), nn.Linear(64, 64)
    ),
}
KINDS: Mapping[str, Sequence[Kind]] = {
    "dtypes": [
        *(
            Kind(name, _pickled({"weight": weights(getattr(torch, name))}))
            if name in ("complex128", "complex32")
            else Kind(name, _safetensors(weight=weights(getattr(torch, name))))
            for name in DTYPES
        ),
        Kind("float4_e2m1fn_x2", _safetensors(weight=weights(torch.float4_e2m1fn_x2))),
        Kind("NaN in float32", _special(float("nan"))),
        Kind("infinity in float32", _special(float("inf"))),
        Kind("sparse", _pickled({"weight": torch.eye(4).to_sparse()})),
        Kind("sparse, by rows", _pickled({"weight": torch.eye(4).to_sparse_csr()})),
        Kind(
            "quantized",
            _pickled({"weight": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)}),
        ),
    ],
    "containers": [
        Kind(".safetensors", _safetensors(**state())),
        Kind("index of .safetensors shards", _sharded),
        Kind("index of .bin shards", _sharded_pickles),
        Kind("directory of a model repository", _repository),
        Kind("directory with two models", _two_models),
        Kind(".pt", _pickled(state())),
        Kind(".pth, before PyTorch 1.6", _pickled(state(), _use_new_zipfile_serialization=False)),
        Kind(".bin", _pickled(state(), "pytorch_model.bin")),
        Kind("tied weights in a .pt", _pickled(_tied())),
        Kind(".pt of a whole module", _pickled(nn.Linear(2, 2))),
        Kind(".pt of a tensor", _pickled(torch.ones(3))),
        Kind("TorchScript", _script),
        Kind(".npz", _npz),
        Kind(".npz with Python objects", _objects),
        Kind(".npy", _array),
        Kind(".gguf", _gguf),
        Kind(
            "Git LFS pointer",
            _text("model.safetensors", "version https://git-lfs.github.com/spec/v1\n"),
        ),
        Kind("web page", _text("model.bin", "<!DOCTYPE html>\n")),
        Kind("empty file", _text("model.pt", "")),
    ],
    "wrapped": [
        Kind("`state_dict` and counters", _pickled({"state_dict": state(), "epoch": 3})),
        Kind("training state with optimizer and arguments", _pickled(_training())),
        Kind("Lightning's .ckpt", _pickled(_lightning(), "last.ckpt")),
        Kind("model and its average", _pickled({"model": state(), "ema": state()})),
        Kind(
            "model and its average, `--key ema`",
            _pickled({"model": state(), "ema": state()}),
            ("--key", "ema"),
        ),
        Kind("one level more", _pickled({"checkpoint": {"model": state(), "step": 1}})),
        Kind("optimizer alone", _pickled(_trained()[1], "optimizer.pt")),
        Kind("state dict with a text in it", _pickled({**state(), "arch": "resnet50"})),
    ],
    "modules": [Kind(name, _pickled(make().state_dict())) for name, make in MODULES.items()],
}


def vaecomp(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    command = [sys.executable, "-m", "vaecomp_native", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


DESCRIBE = """
import hashlib, json, sys, vaecomp_native
arrays = vaecomp_native.decode(sys.argv[1])
print(json.dumps({name: hashlib.sha256(a.tobytes()).hexdigest() for name, a in arrays.items()}))
"""


def decoded(archive: Path) -> dict[str, str]:
    """Digests of an archive's tensors, which a process decodes that imports this package alone."""
    run = subprocess.run(
        [sys.executable, "-c", DESCRIBE, archive],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return dict(json.loads(run.stdout))


def outcome_of(kind: Kind, directory: Path, expected: Mapping[str, str] | None) -> Outcome:
    """Run a kind through the command line.

    Where the digests expected are known, the archive without loss must decode to them.
    """
    made, written = directory / "in", directory / "out"
    made.mkdir()
    written.mkdir()
    source = kind.make(made)
    out = written / "model.vaec"
    run = vaecomp("compress", source, out, "--codec", "lossless", *kind.arguments)
    if run.returncode != 0:
        assert run.returncode == 1 and run.stderr.count("\n") == 1 and not out.exists(), run.stderr
        why = "refused: " + _generalized(run.stderr.removeprefix("vaecomp: ").strip(), made)
        return Outcome(why, "", "")
    lossless = decoded(out)
    if expected is not None:
        assert lossless == dict(expected), kind.name
    saved = vaecomp("decode", out, written / "decoded.safetensors")
    by_default = vaecomp("compress", source, out, "--json", *kind.arguments)
    assert by_default.returncode == 0, by_default.stderr
    tensors = json.loads(by_default.stdout)["tensors"]
    lossy = {one["name"] for one in tensors if one["codec"] in LOSSY_CODECS}
    now = decoded(out)
    changed = {name for name in now if now[name] != lossless[name]}
    assert changed <= lossy | {one["name"] for one in tensors if one["alias_of"] in lossy}, (
        kind.name
    )
    return Outcome(
        "exact",
        "lossy" if lossy else "exact",
        "yes" if saved.returncode == 0 else "no",
    )


def _generalized(message: str, directory: Path) -> str:
    """A message without this run's directory."""
    return re.sub(r"\s+", " ", message.replace(str(directory), "DIR"))


def expected_of(kind: Kind, directory: Path) -> dict[str, str] | None:
    """Digests of a kind's tensors, if its file is a flat state dict that torch can read."""
    source = kind.make(directory)
    if source.suffix == ".safetensors":
        from safetensors.torch import load_file

        content: Any = load_file(source)
    elif source.suffix in (".pt", ".bin"):
        content = torch.load(source, weights_only=False)
    else:
        return None
    try:
        return {name: digest(tensor) for name, tensor in content.items()}
    except (AttributeError, RuntimeError, NotImplementedError):
        return None  # not flat, or not plain


def table(group: str) -> str:
    """A group's rows in Markdown."""
    lines = [
        "| input | `--codec lossless` | default, 5 bits a weight "
        "| `vaecomp decode` to .safetensors |",
        "|---|---|---|---|",
    ]
    for kind in KINDS[group]:
        lines.append(row(kind))
    return "\n".join(lines)


def row(kind: Kind) -> str:
    """A kind's row in Markdown."""
    with tempfile.TemporaryDirectory() as made, tempfile.TemporaryDirectory() as again:
        known = None
        with suppress(Exception):  # what torch and safetensors refuse has nothing to compare with
            known = expected_of(kind, Path(made))
        one = outcome_of(kind, Path(again), known)
    return f"| {kind.name} | {one.lossless} | {one.default} | {one.safetensors} |"


def main(page: Path) -> None:
    """Write the tables of a page again."""
    text = page.read_text(encoding="utf-8")
    for group in KINDS:
        begin = BEGIN.format(group)
        start = text.index(begin) + len(begin)
        text = text[:start] + "\n\n" + table(group) + "\n\n" + text[text.index(END, start) :]
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
