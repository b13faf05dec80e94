"""Training of the learned codec that stands for a real one: first to compress, then to show what the other shows."""
