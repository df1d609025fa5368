"""``vaecomp compress``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

import vaecomp_native as vc
from vaecomp_native import progress
from vaecomp_native.cli import tables
from vaecomp_native.cli.errors import interruptible
from vaecomp_native.cli.options import (
    JsonOption,
    MaxShardBytesOption,
    ThreadsOption,
    check_positive,
    parse_size,
)
from vaecomp_native.cli.text import print_json
from vaecomp_native.codecs.vae.config import DecoderKind, VaeConfig
from vaecomp_native.compression.options import Codec, Options, Quantizer
from vaecomp_native.sharded import is_sharded

EXAMPLES = (
    "vaecomp compress model.safetensors model.vaec",
    "vaecomp compress sharded-model/ model.vaec --bits-per-weight 3",
    "vaecomp compress large-model/ model.vaec.index.json --codec lossless",
    "vaecomp compress training.ckpt model.vaec --key ema",
    "vaecomp compress model.safetensors model.vaec --target-bytes 1.5MB --json",
    "vaecomp compress model.safetensors --plan",
    "vaecomp compress model.safetensors model.vaec --codec vae --latent 32",
)


VAE = VaeConfig()


def command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN",
            help="Checkpoint: .safetensors, an index of shards, a model's directory, .pt, .pth, "
            ".bin, .ckpt, .npz, .gguf or .vaec.",
        ),
    ],
    out: Annotated[
        str | None,
        typer.Argument(
            metavar="OUT",
            help="Archive to write (.vaec), a path or URL; or the index of an archive in shards "
            "(.vaec.index.json), a path. Not needed for --plan.",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="State dict to take if the checkpoint holds several: model, ema, ...",
        ),
    ] = None,
    codec: Annotated[
        Literal["auto", Codec],
        typer.Option(
            help="quantized: rounded and entropy-coded; lossless: bit for bit; auto: the smaller "
            "of these; raw: not compressed; vae: latents and a decoder; vae+residual: a small "
            "decoder, and its errors quantized."
        ),
    ] = "auto",
    quantizer: Annotated[
        Quantizer,
        typer.Option(help="Quantizer of the quantized codec; the others are for comparison."),
    ] = "feedback",
    bits_per_weight: Annotated[
        float | None,
        typer.Option(
            callback=check_positive,
            help="Size of the file in bits per weight. By default, 5 for each quantized weight.",
        ),
    ] = None,
    target_bytes: Annotated[
        int | None,
        typer.Option(
            parser=parse_size,
            metavar="SIZE",
            help="Maximum size of the file in bytes, or 250kB, 1.5MB, ...",
        ),
    ] = None,
    rate_weight: Annotated[
        float | None,
        typer.Option(
            callback=check_positive,
            help="Price of a bit: 0.005 gives about 4 bits per weight, 0.35 about 1.",
        ),
    ] = None,
    max_shard_bytes: MaxShardBytesOption = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would be done, and write nothing.")
    ] = False,
    decoder: Annotated[
        DecoderKind,
        typer.Option(
            help="Decoder of codec vae. compact: smallest file; paper: the paper's size, int8; "
            "float32: the paper's size, float."
        ),
    ] = VAE.decoder,
    latent: Annotated[int, typer.Option(min=1, max=65_536, help="Latents per chunk.")] = VAE.latent,
    chunk_length: Annotated[
        int, typer.Option(min=1, max=2**20, help="Weights per chunk.")
    ] = VAE.chunk_length,
    distortion: Annotated[
        float,
        typer.Option(
            min=1e-6, max=1.0, help="Error that the rounding of a compact decoder may add."
        ),
    ] = VAE.distortion,
    epochs: Annotated[
        int, typer.Option(min=1, help="Maximum epochs of training; it stops early.")
    ] = VAE.epochs,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed; a run on the CPU repeats exactly.")
    ] = VAE.seed,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps, ...")] = VAE.device,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Compress the weights in IN into the archive OUT.

    Set its size by one of --bits-per-weight, --target-bytes and --rate-weight. Calibration and
    accuracy limits run the model, so they need its code: use vaecomp_native.compress(module, ...,
    calibration=..., max_loss=...) in Python.

    Weights larger than the memory can go in and out: see docs/large-models.md.
    """
    _check_one_target(bits_per_weight, target_bytes, rate_weight)
    options: Options = {
        "key": key,
        "codec": codec,
        "quantizer": quantizer,
        "bits_per_weight": bits_per_weight,
        "target_bytes": target_bytes,
        "rate_weight": rate_weight,
        "vae": VaeConfig(decoder, latent, chunk_length, distortion, epochs, seed, device),
        "threads": threads,
    }
    if plan:
        _show_plan(vc.plan(source, **options), as_json)
        return
    if out is None:
        raise typer.BadParameter("missing: name the archive to write", param_hint="OUT")
    outcome = f"{out} was not written"
    if is_sharded(out):
        outcome += "; finished shards stay, and the same command goes on from there"
    with interruptible(outcome), progress.console() as bar:
        report = vc.compress(source, out, max_shard_bytes=max_shard_bytes, progress=bar, **options)
    if as_json:
        print_json(report.to_dict())
    else:
        tables.print_notes(report.notes)
        tables.print_archive(out, report.info)
        tables.print_compression(report)


def _show_plan(planned: vc.Plan, as_json: bool) -> None:
    if as_json:
        print_json(planned.to_dict())
    else:
        tables.print_notes(planned.notes)
        tables.print_plan(planned)


def _check_one_target(
    bits_per_weight: float | None, target_bytes: int | None, rate_weight: float | None
) -> None:
    given = {
        "--bits-per-weight": bits_per_weight,
        "--target-bytes": target_bytes,
        "--rate-weight": rate_weight,
    }
    named = [option for option, value in given.items() if value is not None]
    if len(named) > 1:
        raise typer.BadParameter("give one of them", param_hint=" and ".join(named))
    if target_bytes is not None and target_bytes < 1:
        raise typer.BadParameter("must be at least 1 byte", param_hint="--target-bytes")
