"""Training of a small classifier from labelled pictures."""
