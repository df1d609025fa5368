"""Networks and data to compress: the paper's four MNIST classifiers and where their digits are.

Needs the ``train`` extra (torch).
"""
