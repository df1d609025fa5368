"""The command ``vaecomp``: `app` is the typer application, `main` the entry point."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn

import typer

from vaecomp_native import __version__
from vaecomp_native.cli import compress, decode, demo, fleet, inspect, verify
from vaecomp_native.cli.errors import BROKEN_PIPE, INTERRUPTED, Problem, explain
from vaecomp_native.cli.text import examples
from vaecomp_native.directories import OPTIONS

app = typer.Typer(
    name="vaecomp",
    epilog=examples(
        "vaecomp compress model.safetensors model.vaec",
        "vaecomp inspect model.vaec",
        "vaecomp decode model.vaec model.safetensors",
        "vaecomp demo",
    ),
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for _name, _module, _summary in (
    ("compress", compress, "Weights (.safetensors) into an archive."),
    ("decode", decode, "An archive into weights (.safetensors)."),
    ("inspect", inspect, "Show an archive's tensors and bytes."),
    ("verify", verify, "Check every byte of an archive."),
    ("demo", demo, "Train, compress, decode and compare a CNN."),
):
    _epilog = examples(*_module.EXAMPLES)
    app.command(_name, epilog=_epilog, short_help=_summary)(_module.command)
app.add_typer(fleet.app, name="fleet", short_help="Many fine-tunes of one model.")


def _answer(option: str, text: Callable[[], str], summary: str) -> Any:
    """An option that prints something and exits."""

    def answer(wanted: bool) -> None:
        if wanted:
            typer.echo(text())
            raise typer.Exit

    return typer.Option(option, callback=answer, is_eager=True, help=summary)


def _directory(option: str, summary: str) -> Any:
    return _answer(option, OPTIONS[option], summary)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, _answer("--version", lambda: f"vaecomp {__version__}", "Print the version and exit.")
    ] = False,
    includes: Annotated[
        bool, _directory("--includes", "Print the C and C++ compiler's flags and exit.")
    ] = False,
    cmakedir: Annotated[
        bool, _directory("--cmakedir", "Print CMake's vaecomp_DIR and exit.")
    ] = False,
    pkgconfigdir: Annotated[
        bool, _directory("--pkgconfigdir", "Print PKG_CONFIG_PATH and exit.")
    ] = False,
) -> None:
    """Turn neural network weights into a small latent archive (.vaec), and back."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _print_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Show a warning as one line, without the place in the code."""
    print(f"vaecomp: {message}", file=sys.stderr)


def _prepare_streams() -> None:
    """Let output go on where a terminal cannot show a name, and where there is no standard output at all."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flushed() -> Problem | None:
    """What keeps the output from where it goes: a full disk, or a pipe that nobody reads any more."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would try again at its end, and complain.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        sys.exit(BROKEN_PIPE)
    except OSError as error:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        return explain(error)
    return None


def main(
    arguments: Sequence[str] | None = None, command: typer.Typer = app, name: str = "vaecomp"
) -> NoReturn:
    """Run a command line, called ``name``, and exit: 0 if all went well, otherwise one line on standard error.

    Exit codes: 1 for an error, 2 for wrong usage, 130 after Ctrl-C.
    """
    warnings.showwarning = _print_warning
    _prepare_streams()
    try:
        code = command(arguments, prog_name=name, standalone_mode=False)
        problem = INTERRUPTED if code == INTERRUPTED.exit_code else None
    except (KeyboardInterrupt, typer.Abort):
        problem = INTERRUPTED
    except Exception as error:
        problem = explain(error)
        if problem is None:
            raise
    if problem is None:
        problem = _flushed()
    if problem is None:
        sys.exit(0)
    print(f"{name}: {problem.message}", file=sys.stderr)
    sys.exit(problem.exit_code)
