"""Networks and data to compress: MNIST classifiers (the paper's four, LeNet-5) and their digits.

Needs the ``train`` extra (torch).
"""
