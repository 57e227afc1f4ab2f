"""Many jobs: Hydra's callback, the grid's check, latency taken at the end."""
