"""Write a report of finished runs from MLflow: one HTML page and one Markdown file."""

import sys

try:
    from paredown.cli.commands import report
except ModuleNotFoundError as error:
    if error.name not in ("paredown", "hydra", "omegaconf"):
        raise
    print(
        f"error: {sys.executable} has no {error.name}; run `make run` first, "
        "which installs everything into .venv, and then .venv/bin/python report.py",
        file=sys.stderr,
    )
    raise SystemExit(2) from None

if __name__ == "__main__":
    report()
