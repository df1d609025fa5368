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
    ("compress", compress, "Compress weights into an archive."),
    ("decode", decode, "Decode an archive to .safetensors."),
    ("inspect", inspect, "Show an archive's tensors and bytes."),
    ("verify", verify, "Check every byte of an archive."),
    ("demo", demo, "Train, compress, decode and compare a CNN."),
):
    _epilog = examples(*_module.EXAMPLES)
    app.command(_name, epilog=_epilog, short_help=_summary)(_module.command)
app.add_typer(fleet.app, name="fleet", short_help="Many fine-tunes of one model.")


def _answer(option: str, text: Callable[[], str], summary: str) -> Any:
    """Make an option that prints a text and exits."""

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
    """Compress neural network weights into a small archive (.vaec), and decode them."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _print_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning as one line, without its place in the code."""
    print(f"vaecomp: {message}", file=sys.stderr)


def _prepare_streams() -> None:
    """Make output work on terminals that cannot show every name, and without standard streams."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flushed() -> Problem | None:
    """Flush standard output, and return the problem if that fails, such as a full disk.

    The process exits if standard output is a pipe that nobody reads any more.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Without this, Python flushes the pipe once more at its exit and prints an error.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        sys.exit(BROKEN_PIPE)
    except OSError as error:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        return explain(error)
    return None


def main(
    arguments: Sequence[str] | None = None, command: typer.Typer = app, name: str = "vaecomp"
) -> NoReturn:
    """Run a command line, called ``name``, and exit.

    The exit code is 0 for success, 1 for an error, 2 for wrong usage and 130 after Ctrl-C. A
    failure prints one line on standard error.
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
