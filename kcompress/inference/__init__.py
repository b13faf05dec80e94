"""What every shipped model runs on: engines, weights, tiling."""
