"""A roofline plot of the figures of bench/limits.py.

Run: python bench/roofline.py limits.json roofline.svg. Operations are multiply-accumulates, or
elements where nothing is multiplied. Bytes are those that must be read and written. A decoder's
weights do not count, because they stay in the cache.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from inputs import CHUNK_LENGTH, DECODER_WEIGHTS, LATENT
from matplotlib.figure import Figure

ELEMENT = 4
"""The bytes of a float32."""


def points(raw: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Return operations per byte and 10^9 operations per second, by name."""
    archive_bytes = raw["archive_mb"] / raw["output_mb"] * ELEMENT
    weights = raw["output_mb"] / ELEMENT / 1e3
    output = ELEMENT * CHUNK_LENGTH
    return {
        "int8 decoder": (DECODER_WEIGHTS / (LATENT + output), raw["int8_decoder_gmac_s"]),
        "fp32 decoder": (DECODER_WEIGHTS / (ELEMENT * LATENT + output), raw["fp32_decoder_gmac_s"]),
        "chunk": (1 / (2 * ELEMENT), raw["chunk_transformer_gb_s"] / ELEMENT),
        "unchunk": (1 / (2 * ELEMENT), raw["unchunk_transformer_gb_s"] / ELEMENT),
        "rANS archive": (
            1 / (archive_bytes + ELEMENT),
            weights / (raw["archive_decode_ms_1_threads"] / 1e3),
        ),
    }


def draw(raw: dict[str, Any]) -> Figure:
    """Draw the roofs as lines and the kernels as points."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    intensity = np.geomspace(0.05, 1000, 200)
    moved = 2 * raw["memcpy_transformer_gb_s"]  # memcpy reads and writes each byte
    for kind, colour in (("int8", "#2f86c9"), ("fp32", "#d55e00")):
        peak = raw[f"{kind}_peak_gmac_s"]
        label = f"{kind}: {raw[f'{kind}_peak_instructions']}, {peak:.0f} GMAC/s"
        axes.plot(intensity, np.minimum(intensity * moved, peak), color=colour, label=label)
    axes.plot([], [], " ", label=f"slope: memcpy, {moved:.1f} GB/s read and written")
    for n, (name, (x, y)) in enumerate(points(raw).items()):
        axes.plot(x, y, "o", color="#404040")
        # Neighbours have their names on different sides, so that these do not overlap.
        axes.annotate(name, (x, y), xytext=(6, (4, -12)[n % 2]), textcoords="offset points")
    axes.set(xscale="log", yscale="log", xlabel="operations per byte", ylabel="10⁹ operations/s")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)
    return figure


def main(
    limits: Annotated[Path, typer.Argument(help="Output of bench/limits.py --json.")],
    picture: Annotated[Path, typer.Argument(help="Picture to write, .svg or .png.")],
) -> None:
    """Draw the kernels below the roofs of the machine.

    Example: python bench/roofline.py limits.json roofline.svg
    """
    draw(json.loads(limits.read_text(encoding="utf-8"))["raw"]).savefig(picture)


if __name__ == "__main__":
    typer.run(main)
