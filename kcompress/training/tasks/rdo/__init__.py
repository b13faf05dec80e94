"""Training of the RDO network for JPEG, end to end through an exact decoder and a model of its bits."""
