"""The commands of ``python -m experiments``: one a result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NoReturn, Optional

import typer

from vaecomp_native import cli, progress
from vaecomp_native.cli.errors import interruptible
from vaecomp_native.cli.options import JsonOption, ThreadsOption
from vaecomp_native.cli.paths import check_directory
from vaecomp_native.cli.text import examples, print_json, print_notice
from vaecomp_native.errors import VaecompError

RESUMABLE = "what was finished is in {}; the same command goes on from there"

PAPER_MODELS = "fnn,cnn,rnn,lstm"
RATE_MODELS = f"{PAPER_MODELS},lenet5"

PAPER_EXAMPLES = (
    "python -m experiments paper --data mnist/",
    "python -m experiments paper --models cnn,lstm --out results/",
    "python -m experiments paper --models rnn --epochs 50 --json > rnn.json",
)
RATE_EXAMPLES = (
    "python -m experiments rate --data mnist/",
    "python -m experiments rate --models lenet5 --out results/",
    "python -m experiments rate --models fnn,cnn --json > rate.json",
)
QUANTIZER_EXAMPLES = (
    "python -m experiments quantizers --data mnist/",
    "python -m experiments quantizers --models fnn,rnn --out results/",
    "python -m experiments quantizers --models rnn --json > quantizers.json",
)
FLEET_EXAMPLES = (
    "python -m experiments fleet --data mnist/",
    "python -m experiments fleet --members 64 --held-out 16 --out results/",
    "python -m experiments fleet --cache models/ --json > fleet.json",
)
SERIES_EXAMPLES = (
    "python -m experiments series --data mnist/",
    "python -m experiments series --checkpoints 20 --out results/",
    "python -m experiments series --cache models/ --json > series.json",
)

DataOption = Annotated[
    Optional[Path],  # noqa: UP045 - typer evaluates it, also on Python 3.10
    typer.Option(
        metavar="DIR",
        help="MNIST in torchvision's layout; downloaded there if it is not. "
        "Default: $VAECOMP_DATA, or the user's cache.",
    ),
]
ModelsOption = Annotated[str, typer.Option(metavar="LIST", help="Networks, separated by commas.")]
CacheOption = Annotated[
    Optional[Path],  # noqa: UP045 - typer evaluates it, also on Python 3.10
    typer.Option(metavar="DIR", help="Where models and files are kept. Default: cache in --out."),
]
QuickOption = Annotated[
    bool, typer.Option("--quick", help="Few points and short training, to see that it runs.")
]
OutOption = Annotated[Path, typer.Option(metavar="DIR", help="Where archives, report and JSON go.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of everything that is random.")]

app = typer.Typer(
    help="Experiments: one command, one JSON result, one HTML report each.",
    epilog=examples(PAPER_EXAMPLES[0], RATE_EXAMPLES[0]),
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _group(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(
    epilog=examples(*PAPER_EXAMPLES), short_help="The paper's tables and figures on MNIST."
)
def paper(
    data: DataOption = None,
    models: ModelsOption = PAPER_MODELS,
    out: OutOption = Path("vaecomp-paper"),
    epochs: Annotated[
        int, typer.Option(min=1, help="Epochs of the autoencoder at most; it stops early.")
    ] = 500,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Repeat the paper's evaluation on MNIST (arXiv 2408.14513), with every byte counted.

    Writes DIR/report.html, DIR/paper.json and the archives, anew after each network.
    """
    names = _split(models, PAPER_MODELS)
    finished = f"the networks that were finished are in {out}"
    options = {"models": names, "out": out, "epochs": epochs}
    _run("paper", data, out, seed, 0, as_json, finished, lambda _: options)


@app.command(epilog=examples(*RATE_EXAMPLES), short_help="Size against accuracy, all codecs.")
def rate(
    data: DataOption = None,
    models: ModelsOption = RATE_MODELS,
    out: OutOption = Path("vaecomp-rate"),
    seed: SeedOption = 0,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Draw size against accuracy on MNIST for every quantizer, beside ISO/IEC 15938-17 (nncodec).

    Writes DIR/report.html, DIR/rate.json and the files of every point, anew after each network.
    nncodec comes with pip install -r experiments/requirements.txt.
    """
    names = _split(models, RATE_MODELS)
    finished = f"the networks that were finished are in {out}"
    options = {"models": names, "out": out}
    _run("rate", data, out, seed, threads, as_json, finished, lambda _: options)


@app.command(
    epilog=examples(*QUANTIZER_EXAMPLES), short_help="Variational Bayesian quantization on trial."
)
def quantizers(
    data: DataOption = None,
    models: ModelsOption = PAPER_MODELS,
    out: OutOption = Path("vaecomp-quantizers"),
    seed: SeedOption = 0,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Compare variational Bayesian quantization with uniform quantization and entropy coding.

    On latents of autoencoders of the networks' weights, and on the weights. Writes DIR/report.html and
    DIR/quantizers.json, anew after each data set.
    """
    names = _split(models, PAPER_MODELS)
    finished = f"the data sets that were finished are in {out}"
    _run("quantizers", data, out, seed, threads, as_json, finished, lambda _: {"models": names})


@app.command(epilog=examples(*FLEET_EXAMPLES), short_help="Many models with a shared decoder.")
def fleet(
    data: DataOption = None,
    members: Annotated[int, typer.Option(min=2, help="Models that the decoder learns from.")] = 256,
    held_out: Annotated[int, typer.Option(min=1, help="Further ones to measure.")] = 32,
    validation: Annotated[
        int, typer.Option(min=1, help="Further ones to choose settings on.")
    ] = 16,
    steps: Annotated[int, typer.Option(min=10, help="Training steps of a decoder.")] = 1500,
    out: OutOption = Path("vaecomp-fleet"),
    cache: CacheOption = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that fine-tune the models.")] = 2,
    quick: QuickOption = False,
    seed: SeedOption = 0,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Store personal fine-tunes of one MNIST network: a shared decoder beside codecs of their differences.

    Writes DIR/report.html and DIR/fleet.json. What is finished is kept in the cache, so that the same
    command goes on after an interruption. nncodec comes with pip install -r experiments/requirements.txt.
    """
    kept = cache or out / "cache"

    def options(experiment: Any) -> dict[str, Any]:
        packs = [replace(pack, steps=steps) for pack in experiment.PACKS]
        return {
            "members": members,
            "held_out": held_out,
            "validation": validation,
            "cache": kept,
            "workers": workers,
            **(experiment.QUICK if quick else {"packs": packs}),
        }

    _run("fleet", data, out, seed, threads, as_json, RESUMABLE.format(kept), options)


@app.command(epilog=examples(*SERIES_EXAMPLES), short_help="Checkpoints of one training run.")
def series(
    data: DataOption = None,
    checkpoints: Annotated[
        int, typer.Option(min=2, help="The last ones of the training, a tenth of an epoch apart.")
    ] = 50,
    out: OutOption = Path("vaecomp-series"),
    cache: CacheOption = None,
    quick: QuickOption = False,
    seed: SeedOption = 0,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Store checkpoints of one MNIST network's training: a pack that they share beside each alone, zstd and zipnn.

    Writes DIR/report.html and DIR/series.json. What is finished is kept in the cache, so that the same
    command goes on after an interruption. zstandard and zipnn come with pip install -r experiments/requirements.txt.
    """
    kept = cache or out / "cache"

    def options(experiment: Any) -> dict[str, Any]:
        most = experiment.QUICK_CHECKPOINTS if quick else checkpoints
        return {
            "checkpoints": min(checkpoints, most),
            "cache": kept,
            **(experiment.QUICK if quick else {}),
        }

    _run("series", data, out, seed, threads, as_json, RESUMABLE.format(kept), options)


def _run(
    name: str,
    data: Path | None,
    out: Path,
    seed: int,
    threads: int,
    as_json: bool,
    finished: str,
    options: Callable[[Any], dict[str, Any]],
) -> None:
    """Run the experiment of a name and print its result; ``finished`` says after Ctrl-C what is there, ``options`` gives what its module's ``run`` takes beside."""
    check_directory(out)
    with interruptible(finished):
        import torch

        from experiments import tables
        from experiments.networks.mnist import load
        from experiments.publishing import publisher

        experiment = import_module(f"experiments.{name}")
        if threads:
            torch.set_num_threads(threads)
        with progress.console() as bar:
            result = experiment.run(
                load(data, seed=seed),
                seed=seed,
                progress=bar,
                notice=print_notice,
                publish=publisher(name, out),
                **options(experiment),
            )
    if as_json:
        print_json(result.to_dict())
    else:
        getattr(tables, f"print_{name}")(result, out / "report.html")


def _split(models: str, known: str) -> list[str]:
    """The networks named in a list with commas, in its order, each once; ``known`` is such a list."""
    choices = known.split(",")
    names = [name.strip().lower() for name in models.split(",") if name.strip()]
    unknown = [name for name in names if name not in choices]
    if unknown or not names:
        what = f"unknown model {unknown[0]!r}" if unknown else "no model named"
        raise VaecompError(f"--models: {what}; choose from {', '.join(choices)}")
    return list(dict.fromkeys(names))


def main() -> NoReturn:
    """Run the command line and exit, as `vaecomp_native.cli.main` does."""
    cli.main(command=app, name="python -m experiments")
