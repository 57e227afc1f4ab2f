"""Export the first measured variant under a budget, as a deployable folder."""

import sys

try:
    from paredown.cli.commands import pick
except ModuleNotFoundError as error:
    if error.name not in ("paredown", "hydra", "omegaconf"):
        raise
    print(
        f"error: {sys.executable} has no {error.name}; run `make run` first, "
        "which installs everything into .venv, and then .venv/bin/python pick.py",
        file=sys.stderr,
    )
    raise SystemExit(2) from None

if __name__ == "__main__":
    pick()
