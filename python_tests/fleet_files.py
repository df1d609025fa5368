"""A fleet of tiny models as safetensors files, and its pack, for tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

import vaecomp_native as vc
from vaecomp_native import fleet

Arrays = dict[str, npt.NDArray[np.generic]]
DIRECTIONS = 3


@dataclass(frozen=True)
class FleetFiles:
    """`members` has u0000.safetensors, u0001.safetensors, ...; `base` and `pack` lie beside it."""

    members: Path
    base: Path
    pack: Path

    @property
    def pattern(self) -> str:
        """All members."""
        return str(self.members / "*.safetensors")


def make_fleet_files(directory: Path, count: int, seed: int = 0) -> FleetFiles:
    """Members of three tensors that differ from their base along three directions, and by noise."""
    generator = np.random.default_rng(seed)
    shapes = {"fc.weight": (12, 16), "fc.bias": (12,)}
    base = {name: generator.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    directions = {
        name: generator.standard_normal((DIRECTIONS, *shape), np.float32)
        for name, shape in shapes.items()
    }
    files = FleetFiles(directory / "users", directory / "base.safetensors", directory / "p.vaepack")
    files.members.mkdir(parents=True)
    save_file({**base, "steps": np.array([0])}, files.base)
    for number in range(count):
        latents = 0.1 * generator.standard_normal(DIRECTIONS, np.float32)
        member: Arrays = {
            name: base[name]
            + np.tensordot(latents, directions[name], 1)
            + 0.01 * generator.standard_normal(shape, np.float32)
            for name, shape in shapes.items()
        }
        member["steps"] = np.array([number])
        save_file(member, files.members / f"u{number:04d}.safetensors")
    train_pack(files, files.pack)
    return files


def train_pack(files: FleetFiles, out: Path, latent: int = 4) -> None:
    """Train a pack on some of the members."""
    some = sorted(files.members.iterdir())[:20]
    fleet.train(some, out, base=files.base, latent=latent)


def contents(directory: Path) -> dict[str, bytes]:
    """All files below a directory, hidden ones too."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def assert_intact(directory: Path, pack: Path, count: int) -> None:
    """So many members are in the directory, nothing else is, and each decodes to what it was."""
    files = sorted(directory.rglob("*"))
    assert len(files) == count
    with vc.open(pack) as opened:
        for path in files:
            vc.verify(path, pack=opened)
