"""Training of the proxies of a codec: what its decoder shows and what its files cost, learned from real files."""
