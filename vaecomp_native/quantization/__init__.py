"""How numbers become integer symbols and a step or a codebook."""
