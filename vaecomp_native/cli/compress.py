"""``vaecomp compress``."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

import vaecomp_native as vc
from vaecomp_native import progress
from vaecomp_native.cli import tables
from vaecomp_native.cli.errors import interruptible
from vaecomp_native.cli.options import JsonOption, ThreadsOption
from vaecomp_native.cli.paths import check_output
from vaecomp_native.cli.text import print_json

EXAMPLES = (
    "vaecomp compress model.safetensors model.vaec",
    "vaecomp compress sharded-model/ model.vaec --latent 32",
    "vaecomp compress model.safetensors model.vaec --decoder paper --epochs 100 --json",
)


class Codec(str, enum.Enum):
    """Values of ``--codec``."""

    VAE = "vae"
    RAW = "raw"


class Decoder(str, enum.Enum):
    """Values of ``--decoder``."""

    COMPACT = "compact"
    PAPER = "paper"
    FLOAT32 = "float32"


def command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN",
            help="A .safetensors file, a model.safetensors.index.json, or a directory with one.",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Archive to write (.vaec).")],
    codec: Annotated[
        Codec, typer.Option(help="vae: latents and a decoder; raw: as they are.")
    ] = Codec.VAE,
    decoder: Annotated[
        Decoder,
        typer.Option(
            help="compact: smallest file; paper: the paper's size, int8; float32: the same, float."
        ),
    ] = Decoder.COMPACT,
    latent: Annotated[int, typer.Option(min=1, max=65_536, help="Latents a chunk.")] = 64,
    chunk_length: Annotated[int, typer.Option(min=1, max=2**20, help="Weights a chunk.")] = 2048,
    distortion: Annotated[
        float,
        typer.Option(
            min=1e-6, max=1.0, help="Error that a compact decoder's coarse weights may add."
        ),
    ] = 0.015,
    epochs: Annotated[
        int, typer.Option(min=1, help="Epochs of training at most; it stops early.")
    ] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Seed; a run on the CPU repeats exactly.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps, ...")] = "auto",
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Train a small decoder on the weights in IN and write the archive OUT."""
    check_output(out)
    with interruptible(f"{out} was not written"), progress.console() as bar:
        report = vc.compress(
            source,
            out,
            codec=codec.value,
            decoder=decoder.value,
            latent=latent,
            chunk_length=chunk_length,
            distortion=distortion,
            epochs=epochs,
            seed=seed,
            device=device,
            threads=threads,
            progress=bar,
        )
    if as_json:
        print_json(report.to_dict())
    else:
        tables.print_archive(out, report.info)
        tables.print_error(report.relative_error)
