"""Per-picture search: which network and strength serve a picture best, and refinement of what one decides."""
