"""Networks and data to compress: MNIST classifiers (the paper's four, LeNet-5), their digits and their fine-tunes."""
