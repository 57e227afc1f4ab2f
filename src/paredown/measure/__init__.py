"""Quality, latency and cost of the files that ship, and their statistics."""
