"""The laws of the product as pure functions: identity, consent, the three-way merge, mapping, and what is due."""
