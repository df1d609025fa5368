"""Many members in files: made and decoded, by threads of this process or on a Ray cluster."""
