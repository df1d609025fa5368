"""``python -m experiments``, in a checkout."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line beside the installed package."""
    # Python looks in the current directory first, whose package may have no compiled module.
    sys.path.append(sys.path.pop(0))

    from experiments import commands

    commands.main()


if __name__ == "__main__":
    main()
