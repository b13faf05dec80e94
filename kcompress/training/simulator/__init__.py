"""Training of the codec simulators: what a codec shows and costs, learned from its real files."""
