"""Training of the pool's artifact removal, ``ar``."""
