"""Results as rich tables on standard output.

Ratios come in one order: self-contained first, then what sharing the decoder would give, and the
paper's count of latents alone last, marked as leaving the decoder out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import vaecomp_native as vc
from vaecomp_native.accounting import break_even_models
from vaecomp_native.cli.layout import (
    LATENTS_ONLY,
    console,
    milliseconds,
    new_table,
    print_with_report,
    ratio,
)
from vaecomp_native.cli.text import print_rows

if TYPE_CHECKING:
    from vaecomp_native.demo.result import DemoResult

LARGE_ERROR = 0.1


def print_notes(notes: Sequence[str]) -> None:
    """What reading the weights chose, changed or left out, a line each."""
    for note in notes:
        console().print(note)


def print_archive(path: str | Path, info: vc.ArchiveInfo) -> None:
    """An archive's bytes by part and its ratios."""
    total = info.bytes["total"]
    table = new_table("part", "bytes", "share")
    for part, size in info.bytes.items():
        if part == "total":
            table.add_section()
        table.add_row(part, f"{size:,}", f"{100 * size / total:.1f} %")
    screen = console()
    screen.print(table)
    screen.print(
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
        screen.print(f"{pays}; latents only (decoder not counted): {info.ratio_latents_only:.3g}x")


def print_compression(report: vc.CompressionReport) -> None:
    """The codec that was chosen, what it was compared with, and how far decoded weights are from the original ones."""
    screen = console()
    if report.compared:
        table = new_table("codec", "bytes", "score", "")
        table.columns[-1].justify = "left"
        table.add_row(
            report.codec, f"{report.info.bytes['total']:,}", _number(report.score), "chosen"
        )
        for other in report.compared:
            size = "-" if other.bytes is None else f"{other.bytes:,}"
            if other.estimated_bytes is not None:
                size = f"~{other.estimated_bytes:,}"
            table.add_row(other.codec, size, _number(other.score), other.note)
        screen.print(table)
    error = f"squared error of the weights: {100 * report.relative_error:.2g} %"
    if report.relative_error > LARGE_ERROR:
        error += f"; too much for most networks: {_remedy(report.codec)}"
    screen.print(f"codec {report.codec}; {error}{_outputs_by(report.divergence)}")
    for reason, names in report.kept_exact.items():
        count = f"{len(names):,} tensor{'s' if len(names) > 1 else ''}"
        screen.print(f"kept exact ({reason}): {count}")


def _outputs_by(divergence: str | None) -> str:
    return "" if divergence is None else f"; outputs compared by {divergence}"


def _remedy(codec: str) -> str:
    if codec == "vae":
        return "the decoder is too small for this model or --distortion too high; try --codec auto"
    return "ask for more --bits-per-weight"


def print_plan(plan: vc.Plan) -> None:
    """What `compress` would do, tensor by tensor, codec by codec."""
    print_rows(
        ("tensor", "shape", "dtype", "bytes", "treatment"),
        [
            (one.name, _shape(one.shape), one.dtype, f"{one.bytes:,}", one.description)
            for one in plan.tensors
        ],
    )
    screen = console()
    for choice in plan.codecs:
        screen.print(f"codec {choice.codec}: {choice.obstacle or 'would be tried'}")
    target = plan.target
    goals = {
        "about {:g} bits a quantized weight": target.weight_bits,
        "at most {:,} bytes": target.file_bytes,
        "rate weight {:g}": target.rate_weight,
    }
    for goal, value in goals.items():
        if value is not None:
            screen.print(f"target: {goal.format(value)}")
    if plan.divergence is not None:
        screen.print(f"calibrated{_outputs_by(plan.divergence)}")
    size = plan.estimated_bytes
    makes = "" if size is None else f", which would take about {size:,}"
    screen.print(f"{plan.parameters:,} weights of {plan.raw_bytes:,} bytes{makes}")


def print_tensors(info: vc.ArchiveInfo) -> None:
    """Name, shape, dtype and codec of every tensor."""
    print_rows(
        ("tensor", "shape", "dtype", "codec"),
        [
            (
                tensor.name,
                _shape(tensor.shape),
                tensor.dtype,
                tensor.codec if tensor.alias_of is None else f"alias of {tensor.alias_of}",
            )
            for tensor in info.tensors
        ],
    )


def print_demo(result: DemoResult, report: Path) -> None:
    """The demonstration in one table."""
    table = new_table(
        "codec",
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
            milliseconds(archive.decode_seconds),
            milliseconds(archive.reference_decode_seconds),
            ratio(archive.ratio_latents_only),
        )
    print_with_report(table, report)


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "scalar"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"
