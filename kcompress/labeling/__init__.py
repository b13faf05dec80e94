"""Labelling: for each picture the best group of filters before a codec (Kuchen paper, Algorithm 1)."""
