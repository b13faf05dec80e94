"""Rate against distortion: the cost of an encoded picture, BD-rate between curves, bootstrap intervals."""
