"""Speed as ratios to the limit of the same machine in the same run: `make bench`."""
