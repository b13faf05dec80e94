"""Search for quantisation tables of JPEG as a function of quality, by the real encoder behind a network."""
