"""What the experiments found, as data: one module a result."""
