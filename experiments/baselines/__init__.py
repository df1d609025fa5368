"""What the experiments compare with: codecs of other packages and published ones that have none."""
