"""Training of the preprocessors that ship."""
