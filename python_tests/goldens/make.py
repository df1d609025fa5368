"""Write the golden archive of the present format version. An existing golden is never rewritten.

usage: python -m python_tests.goldens.make
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import vaecomp_native
from python_tests.archives import make_sample

HERE = Path(__file__).parent


def main() -> None:
    """Write format-N.vaec, and format-N.json with what it must decode to."""
    archive = HERE / f"format-{vaecomp_native.format_version}.vaec"
    if archive.exists():
        raise SystemExit(f"{archive.name} exists; goldens are never rewritten")
    sample = make_sample()
    expected = {
        name: {
            "dtype": array.dtype.name,
            "shape": list(array.shape),
            "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
        }
        for name, array in sample.arrays.items()
    }
    archive.write_bytes(sample.data)
    archive.with_suffix(".json").write_text(
        json.dumps(expected, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
