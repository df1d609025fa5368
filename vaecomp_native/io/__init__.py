"""Reading and writing bytes: checkpoints, sources of archives, sinks of files, scratch space."""
