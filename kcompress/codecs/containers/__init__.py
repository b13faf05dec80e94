"""File formats around the coded pictures: bytes in, bytes out, nothing else known."""
