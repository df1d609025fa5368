"""Experiments: each is one command (``python -m experiments``) with a JSON result and an HTML page.

They run in a checkout, beside the installed package, and need what ``requirements.txt`` names.
``networks`` trains what is compressed. ``baselines`` holds what the package is compared with, and
``measures`` holds how. Each module beside these runs one experiment. ``results`` has what it found
as data, and ``reports`` makes the page. None of them imports what comes after it in this list.
"""
