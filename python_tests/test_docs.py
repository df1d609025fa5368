"""The code blocks of the tutorial run, one behind another, as a reader would type them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
# In code, `[](` opens a C++ lambda, not a link.
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def test_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    blocks = BLOCK.findall(text)
    assert len(blocks) > 5
    # One program: later blocks use what earlier ones define. Line numbers are those of the page.
    scope: dict[str, object] = {}
    for match in BLOCK.finditer(text):
        lines_before = text.count("\n", 0, match.start(1))
        code = "\n" * lines_before + match.group(1)
        exec(compile(code, "docs/tutorial.md", "exec"), scope)


def test_links_lead_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)", CODE.sub("", page.read_text(encoding="utf-8"))):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
