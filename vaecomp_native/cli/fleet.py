"""``vaecomp fleet``."""

from __future__ import annotations

import sys
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vaecomp_native.cli.errors import interruptible
from vaecomp_native.cli.options import JsonOption, ThreadsOption, check_positive
from vaecomp_native.cli.text import examples, print_json, print_notice
from vaecomp_native.compression.options import Options
from vaecomp_native.errors import VaecompError

if TYPE_CHECKING:
    from vaecomp_native.fleet import ManyReport

TRAIN_EXAMPLES = (
    "vaecomp fleet train 'users/*.safetensors' fleet.vaepack --base base.safetensors",
    "vaecomp fleet train 'users/*/model.safetensors' fleet.vaepack --base base.safetensors "
    "--latent 32 --base-bits-per-weight 5 --json",
    "vaecomp fleet train 'run/step-*.safetensors' run.vaepack --base run/step-5000.safetensors "
    "--lossless",
)
COMPRESS_EXAMPLES = (
    "vaecomp fleet compress 'users/*.safetensors' members/ --pack fleet.vaepack",
    "vaecomp fleet compress 's3://bucket/users/*.safetensors' s3://bucket/members "
    "--pack fleet.vaepack --engine ray",
    "vaecomp fleet compress 'users/*.safetensors' members/ --pack fleet.vaepack "
    "--rate-weight 0.05 --workers 4 --json",
)
DECODE_EXAMPLES = (
    "vaecomp fleet decode 'members/*.vaec' users/ --pack fleet.vaepack",
    "vaecomp fleet decode 's3://bucket/members/*.vaec' users/ --pack fleet.vaepack --json",
)
MAX_NOTICES = 20

app = typer.Typer(
    help="Many fine-tunes of one model: a pack that they share, and a small file for each.",
    epilog=examples(TRAIN_EXAMPLES[0], COMPRESS_EXAMPLES[0], DECODE_EXAMPLES[0]),
    rich_markup_mode=None,
)


# As in fleet.many.compress, which would be slow to import for every command.
Engine = Literal["local", "ray"]
MembersArgument = Annotated[
    str,
    typer.Argument(
        metavar="MEMBERS",
        help="Files: a pattern in quotes, of paths or of a URL that fsspec knows.",
    ),
]
OutArgument = Annotated[str, typer.Argument(metavar="OUT", help="Directory or URL to write to.")]
PackOption = Annotated[
    str, typer.Option("--pack", metavar="PACK", help="The fleet's pack, a path or URL.")
]


@app.callback(invoke_without_command=True)
def _group(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(epilog=examples(*TRAIN_EXAMPLES), short_help="Fine-tunes and their base into a pack.")
def train(
    members: MembersArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The pack to write.")],
    base: Annotated[Path, typer.Option(metavar="FILE", help="The model that they were made from.")],
    latent: Annotated[
        int, typer.Option(min=0, max=65_536, help="Latents that the whole model depends on.")
    ] = 8,
    local: Annotated[
        int, typer.Option(min=0, max=65_536, help="Further latents of each module.")
    ] = 0,
    base_bits_per_weight: Annotated[
        float | None,
        typer.Option(
            callback=check_positive, help="Of the base in the pack; by default without loss."
        ),
    ] = None,
    lossless: Annotated[
        bool, typer.Option("--lossless", help="For members that will be compressed without loss.")
    ] = False,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Train the decoder that members share, and write it with their base as a pack.

    It is made from the weights alone: the principal components of what members differ by from the
    base. A decoder trained by what members do is smaller, and needs the model's code: use
    vaecomp_native.fleet.train(..., calibration=...) in Python.
    """
    with interruptible(f"{out} was not written"), ExitStack() as stack:
        from vaecomp_native.fleet import train as train_pack
        from vaecomp_native.fleet.many import storage

        places = storage.find_files(members).values()
        if len(places) < 2:
            raise VaecompError("nothing to train: a fleet has at least 2 members")
        if latent + local < 1:
            raise VaecompError("nothing to train: give --latent or --local")
        report = train_pack(
            [stack.enter_context(storage.local_copy(place)) for place in places],
            out,
            base=base,
            lossless=lossless,
            latent=latent,
            local=local,
            base_options=_base_options(base_bits_per_weight),
            threads=threads,
            progress=True,
        )
    if as_json:
        print_json(report.to_dict())
    else:
        typer.echo(
            f"{out}: {report.bytes:,} bytes, {report.base_bytes:,} of the base and "
            f"{report.decoder_bytes:,} of the decoder; {report.latents} latents, "
            f"{report.members} members\nSHA-256 {report.sha256}"
        )


@app.command(epilog=examples(*COMPRESS_EXAMPLES), short_help="Fine-tunes into members of a pack.")
def compress(
    members: MembersArgument,
    out: OutArgument,
    pack: PackOption,
    engine: Annotated[
        Engine, typer.Option(help="local: threads of this process; ray: a cluster.")
    ] = "local",
    workers: Annotated[
        int,
        typer.Option(min=0, max=65_536, help="Members at a time (ray: tasks); 0 takes all cores."),
    ] = 0,
    rate_weight: Annotated[
        float | None,
        typer.Option(
            callback=check_positive,
            help="Add what the latents leave: what a bit of it must save, as for compress.",
        ),
    ] = None,
    lossless: Annotated[
        bool, typer.Option("--lossless", help="Members come back bit for bit.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make again what is there already.")
    ] = False,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Of the cluster. Default: $RAY_ADDRESS, or one on this machine.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compress many fine-tunes into members of a pack, one file each.

    A run that was interrupted goes on where it was: files that are whole, and made of the same
    pack, input and options, are kept. A member that fails is named and stops no other; the exit
    code is 1 then. With --engine ray, every machine of the cluster must reach the files by the
    names given here.
    """
    if rate_weight is not None and lossless:
        raise typer.BadParameter("give one of them", param_hint="--rate-weight and --lossless")
    with (
        interruptible(f"members that were finished are in {out}"),
        redirect_stdout(sys.stderr),  # where Ray may say which machines it has lost
    ):
        from vaecomp_native.fleet import compress_many

        report = compress_many(
            members,
            out,
            pack=pack,
            engine=engine,
            workers=workers,
            rate_weight=rate_weight,
            lossless=lossless,
            overwrite=overwrite,
            ray_address=ray_address,
            progress=True,
        )
    _show(report, as_json)


@app.command(epilog=examples(*DECODE_EXAMPLES), short_help="Members of a pack into .safetensors.")
def decode(
    members: MembersArgument,
    out: OutArgument,
    pack: PackOption,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Decode members of a pack to safetensors files, many at a time, checking every digest.

    A member that fails is named and stops no other; the exit code is 1 then.
    """
    with interruptible(f"members that were finished are in {out}"):
        from vaecomp_native.fleet import decode_many

        report = decode_many(members, out, pack=pack, threads=threads, progress=True)
    _show(report, as_json)


def _base_options(bits_per_weight: float | None) -> Options | None:
    if bits_per_weight is None:
        return None
    return {"codec": "quantized", "bits_per_weight": bits_per_weight}


def _show(report: ManyReport, as_json: bool) -> None:
    """Print what became of the members. Raises `VaecompError` if some failed."""
    if as_json:
        print_json(report.to_dict())
    else:
        typer.echo(_summary(report))
    failed = report.failed
    for member in failed[:MAX_NOTICES]:
        print_notice(f"vaecomp: {member.name}: {member.reason}")
    if len(failed) > MAX_NOTICES:
        print_notice(f"vaecomp: ... and {len(failed) - MAX_NOTICES} more, all named with --json")
    if failed:
        raise VaecompError(f"{len(failed):,} of {len(report.members):,} members failed")


def _summary(report: ManyReport) -> str:
    counts = ", ".join(f"{count:,} {status}" for status, count in report.counts.items() if count)
    line = f"{len(report.members):,} members: {counts}; {report.seconds:.1f} s"
    if report.bytes:
        line += f"; {report.source_bytes:,} -> {report.bytes:,} bytes, the pack not counted"
    return line
