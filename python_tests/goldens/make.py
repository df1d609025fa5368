"""Write the golden archives of the present format version. An existing golden is never rewritten.

usage: python -m python_tests.goldens.make
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import vaecomp_native
from python_tests.archives import (
    make_block_sample,
    make_dtype_sample,
    make_sample,
    make_split_sample,
    make_string_sample,
)
from python_tests.fleets import Arrays, make_difference_member, make_member, make_pack
from vaecomp_native import _core

HERE = Path(__file__).parent


def write(part: str, data: bytes, arrays: Arrays) -> None:
    """Write a .vaec, and a .json with what it must decode to."""
    archive = HERE / f"format-{vaecomp_native.format_version}{part}.vaec"
    if archive.exists():
        return
    expected = {
        key: {
            "dtype": _core.dtype_name(array.dtype),
            "shape": list(array.shape),
            "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
        }
        for key, array in arrays.items()
    }
    archive.write_bytes(data)
    archive.with_suffix(".json").write_text(
        json.dumps(expected, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    pack = make_pack()
    for part, sample in (
        ("", make_sample()),
        ("-blocks", make_block_sample()),
        ("-pack", pack),
        ("-member", make_member(pack)),
        ("-exact", make_difference_member(pack)),
        ("-dtypes", make_dtype_sample()),
        ("-strings", make_string_sample()),
        ("-split", make_split_sample()),
    ):
        write(part, sample.data, sample.arrays)
