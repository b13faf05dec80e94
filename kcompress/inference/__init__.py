"""Inference of shipped networks: engines, weights, tiling."""
