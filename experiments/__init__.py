"""Experiments: each one command (``python -m experiments``), one JSON result and one HTML report with pictures.

They run in a checkout, beside the installed package, and need what ``requirements.txt`` names. ``networks`` trains what is compressed,
``baselines`` holds what the package is compared with and ``measures`` how. A module beside these runs one experiment, ``results`` has what
it found as data, and ``reports`` the page: none of them imports what comes after it.
"""
