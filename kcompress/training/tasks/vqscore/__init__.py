"""Training of VQscore, a quality score without reference."""
