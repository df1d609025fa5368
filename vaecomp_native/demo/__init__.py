"""The demonstration: one command, one JSON result and one HTML report with pictures.

Needs the ``train`` extra (torch, matplotlib, jinja2, mlxtend).
"""
