"""The experiments' results as tables on standard output."""

from __future__ import annotations

import math
from pathlib import Path

from experiments.results.fleet import FleetResult
from experiments.results.paper import PaperResult
from experiments.results.quantizers import QuantizerResult
from experiments.results.rate import RateResult
from experiments.results.series import SeriesResult
from vaecomp_native.cli.layout import (
    LATENTS_ONLY,
    console,
    milliseconds,
    new_table,
    print_with_report,
    ratio,
)


def print_paper(result: PaperResult, report: Path) -> None:
    """The paper's evaluation in one table, two rows for each network."""
    table = new_table(
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
                milliseconds(archive.decode_seconds),
                ratio(model.ratio_latents_only),
            )
        table.add_section()
    print_with_report(table, report)


def print_rate(result: RateResult, report: Path) -> None:
    """The smallest files of every codec for each allowed loss, in one table."""
    table = new_table(
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
                milliseconds(row.decode_seconds),
            )
        if not rows:
            table.add_row(f"{name}, no file that loses so little")
        table.add_section()
    print_with_report(table, report)


def print_quantizers(result: QuantizerResult, report: Path) -> None:
    """Percent fewer bits than uniform quantization at the same posterior distortion."""
    rows = [
        (data_set.name, saving)
        for data_set in result.data_sets
        for saving in data_set.savings
        if (saving.error, saving.rate) == ("distortion", "bits")
    ]
    columns = list(dict.fromkeys(bits for _, saving in rows for bits in saving.percent_fewer))
    table = new_table("data set, quantizer", *(f"at\n{bits} bits" for bits in columns))
    for name, saving in rows:
        cells = (_percent_fewer(saving.percent_fewer.get(bits)) for bits in columns)
        table.add_row(f"{name}, {saving.quantizer}", *cells)
    print_with_report(table, report)


def print_fleet(result: FleetResult, report: Path) -> None:
    """Every codec's points on held-out members, and what they are worth for the whole fleet."""
    table = new_table(
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
    print_with_report(table, report)
    console().print(
        f"accuracy of members' own weights {result.accuracy_own:.2f} %, "
        f"of the base {result.accuracy_base:.2f} %"
    )


def print_series(result: SeriesResult, report: Path) -> None:
    """Every codec's bytes of the whole series, and what it lost."""
    table = new_table(
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
    print_with_report(table, report)


def _percent_fewer(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{round(value):+d} %"
