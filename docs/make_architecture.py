"""Make what `architecture.md` shows of the code: the figure of imports, and the table of lines.

Run from the checkout's root, with matplotlib: `python docs/make_architecture.py`. The layers are
those of the contract in `pyproject.toml`, which `lint-imports` checks.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

import matplotlib
import matplotlib.pyplot as plt

ROOT = Path(__file__).parent.parent
PAGE, FIGURE = ROOT / "docs" / "architecture.md", ROOT / "docs" / "imports.svg"
PACKAGE = "vaecomp_native"
SUFFIXES = (".py", ".cpp", ".hpp", ".h", ".c")
KINDS = {
    "product, Python": re.compile(r"vaecomp_native/(?!reference/)"),
    "product, C++": re.compile(r"csrc/(?!tests/|fuzz/)"),
    "reference": re.compile(r"vaecomp_native/reference/"),
    "experiments": re.compile(r"experiments/(?!tests/)"),
    "tests": re.compile(r"(python_tests|experiments/tests|csrc/tests|csrc/fuzz)/"),
    "benchmarks and examples": re.compile(r"(bench|examples)/"),
}


def layers() -> list[str]:
    """The package's layers, the highest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    return next(one["layers"] for one in contracts if one["type"] == "layers")


def layer_of(module: str) -> str:
    """The layer that a module such as `vaecomp_native.io.urls` belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports_of(path: Path) -> Iterator[str]:
    """Layers of the package that a file names in its imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (layer_of(one.name) for one in node.names if one.name.startswith(PACKAGE))
        elif isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE}."):
            yield layer_of(node.module or "")


def draw(order: list[str]) -> None:
    """The matrix of imports: a row imports from the columns, all of them on its left."""
    found: Counter[tuple[str, str]] = Counter()
    for path in (ROOT / PACKAGE).rglob("*.py"):
        own = path.relative_to(ROOT / PACKAGE).parts[0].removesuffix(".py")
        found.update((own, other) for other in imports_of(path) if other != own)
    lowest_first = order[::-1]
    matplotlib.rcParams["svg.hashsalt"] = "imports"
    figure, axes = plt.subplots(figsize=(8, 7))
    for row, own in enumerate(lowest_first):
        for column, other in enumerate(lowest_first):
            if number := found[own, other]:
                colour = "#2f86c9" if column < row else "#d62728"
                axes.add_patch(plt.Rectangle((column - 0.5, row - 0.5), 1, 1, color=colour))
                axes.text(column, row, str(number), ha="center", va="center", color="white")
    ticks = range(len(order))
    axes.set_xticks(ticks, lowest_first, rotation=60, ha="left")
    axes.set_yticks(ticks, lowest_first)
    axes.xaxis.tick_top()
    axes.set(xlim=(-0.5, len(order) - 0.5), ylim=(len(order) - 0.5, -0.5), aspect="equal")
    axes.plot([-0.5, len(order) - 0.5], [-0.5, len(order) - 0.5], color="#8c8c8c", linewidth=1)
    figure.savefig(FIGURE, bbox_inches="tight", metadata={"Date": None})


def table() -> str:
    """Files and lines of each kind of code that is tracked, as Markdown."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    rows = ["| | files | lines |", "|---|---:|---:|"]
    for kind, pattern in KINDS.items():
        own = [ROOT / one for one in listed if pattern.match(one) and one.endswith(SUFFIXES)]
        lines = sum(len(one.read_text(encoding="utf-8").splitlines()) for one in own)
        rows.append(f"| {kind} | {len(own):,} | {lines:,} |")
    return "\n".join(rows)


def main() -> None:
    """Draw the figure and write the table between its marks."""
    draw(layers())
    text = PAGE.read_text(encoding="utf-8")
    start, end = "<!-- lines -->\n", "\n<!-- end of lines -->"
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    PAGE.write_text(f"{before}{start}{table()}{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
