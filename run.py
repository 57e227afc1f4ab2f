"""Distill, prune, quantize and measure one model; with -m, one run a value."""

from paredown.commands import run

if __name__ == "__main__":
    run()
