"""Codec proxies: differentiable stand-ins for encoder and decoder, to train a network through."""
