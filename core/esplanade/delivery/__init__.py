"""The way out: one lane per connector, from what is due to what was acknowledged."""
