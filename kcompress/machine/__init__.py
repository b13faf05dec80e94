"""Machines that look at pictures: downstream models, and the tasks by which they judge compressed pictures."""
