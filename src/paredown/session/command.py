"""`python run.py` from Python: a process, so that one run leaves nothing behind in the next."""

import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from paredown.errors import RunError
from paredown.run.results import read_result

SCRIPT = "from paredown.cli.commands import run; run()"


def run_command(own: Sequence[str], overrides: Sequence[str]) -> list[dict[str, Any]]:
    """Do a run with the session's own overrides and further ones; return the rows of its table.

    Raises:
        RunError: If the command fails; it has printed why.
    """
    stamp = datetime.now().astimezone().strftime("%Y-%m-%d/%H-%M-%S-%f")
    folder = Path("multirun", stamp)
    named = [text for text in overrides if text.startswith("hydra.run.dir=")]
    if named:
        folder = Path(named[-1].partition("=")[2])
    command = [sys.executable, "-c", SCRIPT, *own, *overrides, f"hydra.run.dir={folder}"]
    paths = os.pathsep.join(path for path in sys.path if path)
    process = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, check=False)
    rows: list[dict[str, Any]] = read_result(folder).get("rows", [])
    if process.returncode or not rows:
        raise RunError(f"run.py ended with exit code {process.returncode}; the reason is above")
    return rows
