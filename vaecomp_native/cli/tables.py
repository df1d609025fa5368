"""Results as rich tables on standard output.

Ratios come in one order: self-contained first, then what sharing the decoder would give, and the
paper's count of latents alone last, marked as leaving the decoder out.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import vaecomp_native as vc
from vaecomp_native.accounting import break_even_models
from vaecomp_native.cli.text import print_rows

if TYPE_CHECKING:
    from vaecomp_native.experiments.demo import DemoResult
    from vaecomp_native.experiments.fleet import FleetResult
    from vaecomp_native.experiments.paper import PaperResult
    from vaecomp_native.experiments.quantizers import QuantizerResult
    from vaecomp_native.experiments.rate import RateResult
    from vaecomp_native.experiments.series import SeriesResult

PIPE_WIDTH = 200
LARGE_ERROR = 0.1
LATENTS_ONLY = "latents\nonly\n(decoder\nnot\ncounted)"


def print_notes(notes: Sequence[str]) -> None:
    """What reading the weights chose, changed or left out, a line each."""
    for note in notes:
        _console().print(note)


def print_archive(path: str | Path, info: vc.ArchiveInfo) -> None:
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


def print_compression(report: vc.CompressionReport) -> None:
    """The codec that was chosen, what it was compared with, and how far decoded weights are from the original ones."""
    console = _console()
    if report.compared:
        table = _table("codec", "bytes", "score", "")
        table.columns[-1].justify = "left"
        table.add_row(
            report.codec, f"{report.info.bytes['total']:,}", _number(report.score), "chosen"
        )
        for other in report.compared:
            size = "-" if other.bytes is None else f"{other.bytes:,}"
            if other.estimated_bytes is not None:
                size = f"~{other.estimated_bytes:,}"
            table.add_row(other.codec, size, _number(other.score), other.note)
        console.print(table)
    error = f"squared error of the weights: {100 * report.relative_error:.2g} %"
    if report.relative_error > LARGE_ERROR:
        error += f"; too much for most networks: {_remedy(report.codec)}"
    console.print(f"codec {report.codec}; {error}{_outputs_by(report.divergence)}")
    for reason, names in report.kept_exact.items():
        count = f"{len(names):,} tensor{'s' if len(names) > 1 else ''}"
        console.print(f"kept exact ({reason}): {count}")


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
    console = _console()
    for choice in plan.codecs:
        console.print(f"codec {choice.codec}: {choice.obstacle or 'would be tried'}")
    target = plan.target
    goals = {
        "about {:g} bits a quantized weight": target.weight_bits,
        "at most {:,} bytes": target.file_bytes,
        "rate weight {:g}": target.rate_weight,
    }
    for goal, value in goals.items():
        if value is not None:
            console.print(f"target: {goal.format(value)}")
    if plan.divergence is not None:
        console.print(f"calibrated{_outputs_by(plan.divergence)}")
    size = plan.estimated_bytes
    makes = "" if size is None else f", which would take about {size:,}"
    console.print(f"{plan.parameters:,} weights of {plan.raw_bytes:,} bytes{makes}")


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
    table = _table(
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


def print_rate(result: RateResult, report: Path) -> None:
    """The smallest files of every codec for each allowed loss, in one table."""
    table = _table(
        "model, codec",
        "allowed\nloss,\npoints",
        "self-\ncontained\nratio",
        "file,\nbytes",
        "accu-\nracy,\n%",
        "origi-\nnal,\n%",
        "decode,\nms",
    )
    for name in result.models:
        rows = [row for row in result.results if row.model == name]
        for row in rows:
            table.add_row(
                f"{name}, {row.codec}",
                f"{row.allowed_loss:g}",
                f"{row.ratio_self_contained:.3g}x",
                f"{row.bytes:,}",
                f"{row.accuracy_decoded:.2f}",
                f"{row.accuracy_original:.2f}",
                _milliseconds(row.decode_seconds),
            )
        if not rows:
            table.add_row(f"{name}, no file that loses so little")
        table.add_section()
    _print_with_report(table, report)


def print_quantizers(result: QuantizerResult, report: Path) -> None:
    """Percent fewer bits than uniform quantization at the same posterior distortion."""
    rows = [
        (data_set.name, saving)
        for data_set in result.data_sets
        for saving in data_set.savings
        if (saving.error, saving.rate) == ("distortion", "bits")
    ]
    columns = list(dict.fromkeys(bits for _, saving in rows for bits in saving.percent_fewer))
    table = _table("data set, quantizer", *(f"at\n{bits} bits" for bits in columns))
    for name, saving in rows:
        cells = (_percent_fewer(saving.percent_fewer.get(bits)) for bits in columns)
        table.add_row(f"{name}, {saving.quantizer}", *cells)
    _print_with_report(table, report)


def print_fleet(result: FleetResult, report: Path) -> None:
    """Every codec's points on held-out members, and what they are worth for the whole fleet."""
    table = _table(
        "codec",
        "bytes\nper\nmember",
        "shared\nbytes",
        "accu-\nracy,\n%",
        "ratio\nper\nmember",
        "ratio\nof all",
        "break-\neven\nmembers",
    )
    for point in result.points:
        table.add_row(
            point.codec,
            f"{point.bytes_per_member:,.0f}",
            f"{point.shared_bytes:,}",
            f"{point.accuracy_mean:.2f}",
            f"{point.ratio_per_member:,.4g}x",
            f"{point.ratio_total:,.4g}x",
            "never" if point.break_even_members is None else f"{point.break_even_members:,}",
        )
    _print_with_report(table, report)
    _console().print(
        f"accuracy of members' own weights {result.accuracy_own:.2f} %, "
        f"of the base {result.accuracy_base:.2f} %"
    )


def print_series(result: SeriesResult, report: Path) -> None:
    """Every codec's bytes of the whole series, and what it lost."""
    table = _table(
        "codec",
        "ratio",
        "bytes\nin all",
        "shared\nbytes",
        "bytes per\ncheckpoint",
        "random\naccess",
        "largest\nchange,\npoints",
        "agrees\nwith\nown, %",
    )
    for codec in result.codecs:
        table.add_row(
            codec.codec,
            f"{codec.ratio:,.3g}x",
            f"{codec.total_bytes:,}",
            f"{codec.shared_bytes:,}",
            f"{codec.bytes_per_checkpoint:,.0f}",
            "yes" if codec.random_access else "no",
            "none" if codec.lossless else f"{codec.largest_change:.2f}",
            f"{codec.mean_agreement:.2f}",
        )
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
    console.print(table if table.row_count else "there is nothing to show in a table")
    console.print(f"report with pictures: {report}")


def _console() -> Console:
    # Tensor names and paths are not markup, and a pipe has no width to fold them for.
    return Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "scalar"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}x"


def _percent_fewer(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{round(value):+d} %"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g}"
