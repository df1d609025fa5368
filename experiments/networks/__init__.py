"""Networks and data to compress: MNIST classifiers, their digits and their fine-tunes.

The classifiers are the paper's four and LeNet-5.
"""
