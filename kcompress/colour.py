"""Colour: the matrix of JFIF files (BT.601, full range)."""

JFIF_RGB_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""RGB to Y, Cb, Cr, with the digits that JFIF 1.02 prints; chroma is centred on 0."""
