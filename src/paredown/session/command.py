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
    """Do a run, and return the rows of its table.

    Args:
        own: Of the session; what it does not say is as in conf/.
        overrides: Beside them.

    Raises:
        RunError: If the command fails; it has said why.
    """
    stamp = datetime.now().astimezone().strftime("%Y-%m-%d/%H-%M-%S-%f")
    folder = Path("multirun", stamp)
    named = [text for text in overrides if text.startswith("hydra.run.dir=")]
    place = [] if named else [f"hydra.run.dir={folder}"]
    found = named[0].partition("=")[2] if named else folder
    command = [sys.executable, "-c", SCRIPT, *own, *overrides, *place]
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, check=False)
    rows: list[dict[str, Any]] = read_result(Path(found)).get("rows", [])
    if done.returncode or not rows:
        raise RunError(f"run.py ended with exit code {done.returncode}; it has said why above")
    return rows
