"""``python -m vaecomp_native``: the same as the command ``vaecomp``."""

from __future__ import annotations

import sys

from vaecomp_native.directories import OPTIONS
from vaecomp_native.errors import VaecompError


def main() -> None:
    """Run the command line; the options for build systems are answered without importing it."""
    if len(sys.argv) == 2 and sys.argv[1] in OPTIONS:
        try:
            print(OPTIONS[sys.argv[1]]())
        except VaecompError as error:
            sys.exit(f"vaecomp: {error}")
    else:
        from vaecomp_native import cli

        cli.main()


if __name__ == "__main__":
    main()
