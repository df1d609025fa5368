"""``python -m vaecomp_native``: the same as the command ``vaecomp``."""

from __future__ import annotations

from vaecomp_native.cli import main

if __name__ == "__main__":
    main()
