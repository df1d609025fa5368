"""docs/inputs.md says what becomes of every kind of input; each of its rows is run here."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("gguf")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch's, of dtypes that are experimental
    from . import input_kinds

PAGE = Path(__file__).parents[1] / "docs" / "inputs.md"


def documented(group: str) -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    start = text.index(input_kinds.BEGIN.format(group))
    lines = text[start : text.index(input_kinds.END, start)].splitlines()
    return [line for line in lines if line.startswith("| ")][1:]


@pytest.mark.parametrize("group", input_kinds.KINDS)
def test_the_page_has_a_row_for_each_kind(group: str) -> None:
    names = [line.split(" | ")[0].removeprefix("| ") for line in documented(group)]
    assert names == [kind.name for kind in input_kinds.KINDS[group]]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("group", "number"),
    [
        pytest.param(group, number, id=f"{group}: {kind.name}", marks=[pytest.mark.slow][:number])
        for group, kinds in input_kinds.KINDS.items()
        for number, kind in enumerate(kinds)
    ],
)
def test_the_page_says_what_becomes_of(group: str, number: int) -> None:
    assert input_kinds.row(input_kinds.KINDS[group][number]) == documented(group)[number]
