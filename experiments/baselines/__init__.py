"""Baselines: codecs of other packages, and published codecs that have no package."""
