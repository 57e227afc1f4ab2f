"""Distill, prune, quantize and measure one model; with -m, one run per value."""

import sys

try:
    from paredown.cli.commands import run
except ModuleNotFoundError as error:
    if error.name not in ("paredown", "hydra", "omegaconf"):
        raise
    print(
        f"error: {sys.executable} has no {error.name}; run `make run` first, "
        "which installs everything into .venv, and then .venv/bin/python run.py",
        file=sys.stderr,
    )
    raise SystemExit(2) from None

if __name__ == "__main__":
    run()
