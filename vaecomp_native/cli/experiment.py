"""``vaecomp experiment``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from vaecomp_native import progress
from vaecomp_native.cli import tables
from vaecomp_native.cli.errors import interruptible
from vaecomp_native.cli.options import JsonOption
from vaecomp_native.cli.paths import check_directory
from vaecomp_native.cli.text import examples, print_json, print_notice
from vaecomp_native.errors import VaecompError

MODELS = ("fnn", "cnn", "rnn", "lstm")

EXAMPLES = (
    "vaecomp experiment paper --data mnist/",
    "vaecomp experiment paper --models cnn,lstm --out results/",
    "vaecomp experiment paper --models rnn --epochs 50 --json > rnn.json",
)

app = typer.Typer(
    help="Experiments: one command, one JSON result, one HTML report each.",
    epilog=examples(*EXAMPLES),
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def _group(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(epilog=examples(*EXAMPLES), short_help="The paper's tables and figures on MNIST.")
def paper(
    data: Annotated[
        Optional[Path],  # noqa: UP045 - typer evaluates it, also on Python 3.10
        typer.Option(
            metavar="DIR",
            help="MNIST in torchvision's layout; downloaded there if it is not. "
            "Default: $VAECOMP_DATA, or the user's cache.",
        ),
    ] = None,
    models: Annotated[
        str, typer.Option(metavar="LIST", help="Networks, separated by commas.")
    ] = ",".join(MODELS),
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where archives, report and JSON go.")
    ] = Path("vaecomp-paper"),
    epochs: Annotated[
        int, typer.Option(min=1, help="Epochs of the autoencoder at most; it stops early.")
    ] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything that is random.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Repeat the paper's evaluation on MNIST (arXiv 2408.14513), with every byte counted.

    Writes DIR/report.html, DIR/paper.json and the archives, anew after each network.
    """
    names = _split(models)
    check_directory(out)
    with interruptible(f"the networks that were finished are in {out}"):
        from vaecomp_native.experiments import paper as experiment
        from vaecomp_native.zoo.mnist import load

        with progress.console() as bar:
            result = experiment.run(
                load(data, seed=seed),
                out,
                models=names,
                epochs=epochs,
                seed=seed,
                progress=bar,
                notice=print_notice,
            )
    if as_json:
        print_json(result.to_dict())
    else:
        tables.print_paper(result, out / "report.html")


def _split(models: str) -> list[str]:
    """The networks named in a list with commas, in its order, each once."""
    names = [name.strip().lower() for name in models.split(",") if name.strip()]
    unknown = [name for name in names if name not in MODELS]
    if unknown or not names:
        what = f"unknown model {unknown[0]!r}" if unknown else "no model named"
        raise VaecompError(f"--models: {what}; choose from {', '.join(MODELS)}")
    return list(dict.fromkeys(names))
