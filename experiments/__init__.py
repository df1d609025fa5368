"""Experiments: each one command (``python -m experiments``), one JSON result and one HTML report with pictures.

They run in a checkout and need what ``requirements.txt`` beside this file names.
"""
