"""Write what MLflow keeps of finished runs as one page for a browser and one Markdown file."""

import sys

try:
    from paredown.cli.commands import report
except ModuleNotFoundError as error:
    if error.name not in ("paredown", "hydra", "omegaconf"):
        raise
    print(
        f"error: {sys.executable} has no {error.name}; run `make run` first, "
        "which installs all into .venv, and then .venv/bin/python report.py",
        file=sys.stderr,
    )
    raise SystemExit(2) from None

if __name__ == "__main__":
    report()
