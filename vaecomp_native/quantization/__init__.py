"""Quantizers: they turn numbers into integer symbols and a step or a codebook."""
