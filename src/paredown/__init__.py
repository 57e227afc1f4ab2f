"""Pare a trained vision model down to the Pareto front of accuracy, size and latency."""
