"""How good a decoded model is and what it costs: accuracy and byte accounting."""
