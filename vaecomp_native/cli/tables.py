"""Results as rich tables on standard output.

Ratios come in one order: self-contained first, then what sharing the decoder would give, and the
paper's count of latents alone last, marked as leaving the decoder out.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import vaecomp_native as vc
from vaecomp_native.evaluation.accounting import break_even_models

if TYPE_CHECKING:
    from vaecomp_native.experiments.demo import DemoResult
    from vaecomp_native.experiments.paper import PaperResult

PIPE_WIDTH = 200
LARGE_ERROR = 0.1
LATENTS_ONLY = "latents\nonly\n(decoder\nnot\ncounted)"


def print_archive(path: Path, info: vc.ArchiveInfo) -> None:
    """An archive's bytes by part and its ratios."""
    total = info.bytes["total"]
    table = _table("part", "bytes", "share")
    for part, size in info.bytes.items():
        if part == "total":
            table.add_section()
        table.add_row(part, f"{size:,}", f"{100 * size / total:.1f} %")
    console = _console()
    console.print(table)
    console.print(
        f"{path}: {info.raw_bytes:,} -> {total:,} bytes, "
        f"self-contained ratio {info.ratio_self_contained:.3g}x"
    )
    if info.ratio_latents_only is not None:
        shared = info.bytes["decoder"]
        models = break_even_models(shared, total - shared, info.raw_bytes)
        if models is None:
            pays = "sharing the decoder never pays"
        else:
            pays = f"a shared decoder pays from {models:,} model{'s' if models > 1 else ''} on"
        console.print(f"{pays}; latents only (decoder not counted): {info.ratio_latents_only:.3g}x")


def print_error(relative_error: float) -> None:
    """How far the decoded weights are from the original ones."""
    text = f"squared error of the weights: {100 * relative_error:.2g} %"
    if relative_error > LARGE_ERROR:
        text += (
            "; too much for most networks: the decoder is too small for this model "
            "or --distortion too high; --codec raw loses nothing"
        )
    _console().print(text)


def print_tensors(info: vc.ArchiveInfo) -> None:
    """Name, shape, dtype and codec of every tensor."""
    table = Table("tensor", "shape", "dtype", "codec", box=SIMPLE_HEAD, pad_edge=False)
    for tensor in info.tensors:
        shape = " x ".join(map(str, tensor.shape)) or "scalar"
        table.add_row(tensor.name, shape, str(tensor.dtype), str(tensor.codec))
    _console().print(table)


def print_demo(result: DemoResult, report: Path) -> None:
    """The demonstration in one table."""
    table = _table(
        "decoder",
        "self-\ncontained\nratio",
        "file,\nbytes",
        "accu-\nracy,\n%",
        "bit-\nexact",
        "native\ndecode,\nms",
        "NumPy\ndecode,\nms",
        LATENTS_ONLY,
    )
    table.add_row("original", "1x", f"{result.raw_bytes:,}", f"{result.accuracy_original:.2f}")
    for archive in result.archives:
        table.add_row(
            archive.codec,
            f"{archive.ratio_self_contained:.3g}x",
            f"{archive.bytes['total']:,}",
            f"{archive.accuracy_decoded:.2f}",
            "yes" if archive.bit_exact else "NO",
            _milliseconds(archive.decode_seconds),
            _milliseconds(archive.reference_decode_seconds),
            _ratio(archive.ratio_latents_only),
        )
    _print_with_report(table, report)


def print_paper(result: PaperResult, report: Path) -> None:
    """The paper's evaluation in one table, two rows for each network."""
    table = _table(
        "model, decoder",
        "self-\ncontained\nratio",
        "file,\nbytes",
        "break-\neven\nmodels",
        "accu-\nracy,\n%",
        "origi-\nnal,\n%",
        "native\ndecode,\nms",
        LATENTS_ONLY,
    )
    for name, model in result.models.items():
        for decoder, archive in (("compact", model.compact), ("paper", model.paper)):
            table.add_row(
                f"{name}, {decoder}",
                f"{archive.ratio_self_contained:.3g}x",
                f"{archive.bytes['total']:,}",
                "never" if archive.break_even_models is None else f"{archive.break_even_models:,}",
                f"{archive.accuracy_decoded:.2f}",
                f"{model.accuracy_original:.2f}",
                _milliseconds(archive.decode_seconds),
                _ratio(model.ratio_latents_only),
            )
        table.add_section()
    _print_with_report(table, report)


def _table(first: str, *columns: str) -> Table:
    """A table with a column of names and columns of numbers, narrow enough for 80 characters."""
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _print_with_report(table: Table, report: Path) -> None:
    console = _console()
    console.print(table)
    console.print(f"report with pictures: {report}")


def _console() -> Console:
    # Tensor names and paths are not markup, and a pipe has no width to fold them for.
    return Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}x"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g}"
