"""Experiments: each one command, one JSON result and one HTML report with pictures.

Needs the ``train`` extra (torch, torchvision, matplotlib, jinja2, mlxtend).
"""
