"""Training of `blend`: what the real encoder makes of patches behind each filter of its bank."""
