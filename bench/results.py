"""The figures of bench/limits.py, and their targets."""

from __future__ import annotations

from dataclasses import dataclass, field

TARGETS: dict[str, float] = {
    "int8_decoder_vs_peak": 0.60,
    "int8_decoder_vs_torch_fp32": 4.0,
    "fp32_decoder_vs_peak": 0.70,
    "two_thread_speedup": 1.8,
    "rans_decode_vs_constriction": 25,
    "scalar_archive_decode_vs_nncodec": 12,
    "unchunk_vs_memcpy": 0.85,
    "chunk_vs_memcpy": 0.85,
    "noise_vs_numpy": 10,
    "decode_vs_reference": 50,
    "members_vs_decoder": 0.5,
    "peak_memory_over_output": 1.15,
    "import_vs_numpy": 1.3,
    "small_archive_ms": 0.5,
}
AT_MOST = {"peak_memory_over_output", "import_vs_numpy", "small_archive_ms"}
"""The figures that should be small; all others should be large."""


@dataclass
class Results:
    """Figures by key.

    `ratios` are the figures of `TARGETS`, or None where the baseline is missing. `raw` are the
    measurements behind them.
    """

    ratios: dict[str, float | None] = field(default_factory=dict)
    raw: dict[str, float | str] = field(default_factory=dict)

    def ratio(self, key: str, value: float | None) -> None:
        self.ratios[key] = value

    def note(self, key: str, value: float | str) -> None:
        self.raw[key] = value

    def markdown(self) -> str:
        """Return a table of the figures beside their targets."""
        lines = ["| figure | measured | target | met |", "|---|---:|---:|---|"]
        for key, target in TARGETS.items():
            value = self.ratios[key]
            bound = f"{'at most' if key in AT_MOST else 'at least'} {target:g}"
            shown = "no baseline" if value is None else f"{value:.3g}"
            lines.append(f"| {key} | {shown} | {bound} | {_met(key, value)} |")
        return "\n".join(lines)


def _met(key: str, value: float | None) -> str:
    if value is None:
        return ""
    return "yes" if (value <= TARGETS[key] if key in AT_MOST else value >= TARGETS[key]) else "no"
