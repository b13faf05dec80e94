"""Measuring on pictures: comparisons of files, rate-quality curves of data sets, and the pages that show them."""
