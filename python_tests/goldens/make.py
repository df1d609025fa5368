"""Write the golden archives of the present format version. An existing golden is never rewritten.

usage: python -m python_tests.goldens.make
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import vaecomp_native
from python_tests.archives import Sample, make_block_sample, make_sample

HERE = Path(__file__).parent


def write(name: str, sample: Sample) -> None:
    """Write NAME.vaec, and NAME.json with what it must decode to."""
    archive = HERE / f"{name}.vaec"
    if archive.exists():
        raise SystemExit(f"{archive.name} exists; goldens are never rewritten")
    expected = {
        key: {
            "dtype": array.dtype.name,
            "shape": list(array.shape),
            "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
        }
        for key, array in sample.arrays.items()
    }
    archive.write_bytes(sample.data)
    archive.with_suffix(".json").write_text(
        json.dumps(expected, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    write(f"format-{vaecomp_native.format_version}", make_sample())
    write(f"format-{vaecomp_native.format_version}-blocks", make_block_sample())
