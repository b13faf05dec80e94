"""Training of the artefacts network for any codec, end to end through a model of it: the third system."""
