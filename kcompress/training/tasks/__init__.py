"""A task for each network that can be trained."""
