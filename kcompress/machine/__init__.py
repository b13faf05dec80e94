"""Machine vision: downstream models, and their tasks on compressed pictures."""
