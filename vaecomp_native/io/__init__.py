"""Bytes in and out: checkpoints of every kind, sources of archives, sinks, scratch space."""
