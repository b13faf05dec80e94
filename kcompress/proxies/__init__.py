"""Codecs in torch: what a real encoder and decoder compute, with gradients to train a network through."""
