"""How results are compared: losses, savings and costs."""
