"""Data labelling: pictures x groups of filters x codec -> the best picture of each (Kuchen paper, Algorithm 1)."""
