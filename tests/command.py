"""The commands as a user types them, on settings that take seconds, and what they logged."""

import atexit
import gc
import io
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SMALL = (  # seconds, not minutes; real all the same
    "model=cnn4",
    "model.width=8",
    "model@student=cnn4",
    "student.width=4",
    "training.epochs=1",
    "prune.epochs=1",
    "prune.round_to=8",
    "measure.processes=1",
    "measure.rounds=1",
    "measure.eager=false",
)


def paredown(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run run.py in `folder`, with a store and an MLflow database of its own there."""
    if not any("store.folder" in argument for argument in arguments):
        arguments = (*arguments, f"store.folder={folder / 'store'}")
    command = [sys.executable, str(ROOT / "run.py"), *arguments]
    environment = {**os.environ, "COLUMNS": "140"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def run_here(folder: Path, *arguments: str, verb: str = "run") -> subprocess.CompletedProcess[str]:
    """Do what `paredown` does, or run.py's neighbour `verb`.py, in this process."""
    from paredown.cli.commands import VERBS

    if verb == "run" and not any("store.folder" in argument for argument in arguments):
        arguments = (*arguments, f"store.folder={folder / 'store'}")
    return call_main(VERBS[verb], folder, *arguments)


def call_main(
    main: Callable[[], None], folder: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Call a command's main function as its script does, without the seconds of its imports.

    A test that needs a death, a signal, a fresh import or two at once starts a process.

    Args:
        main: Of Hydra; it reads the command line.
        folder: Where the command is typed.
        arguments: Of the command line.

    Returns:
        The exit code and what was printed; an exception that leaves main leaves this too.
    """
    out, err, code = io.StringIO(), io.StringIO(), 0
    ends: list[Callable[[], object]] = []
    apart = _apart(["main", *arguments], ends)
    with apart, chdir(folder), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            for end_of_process in reversed(ends):
                end_of_process()
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def without(settings: Sequence[str], *names: str) -> list[str]:
    """Leave settings out, for a test that has its own of these names."""
    return [setting for setting in settings if setting.partition("=")[0] not in names]


@contextmanager
def _apart(words: list[str], ends: list[Callable[[], object]]) -> Iterator[None]:
    """Take back all that a command does to its process.

    Args:
        words: Of its command line, its own name first.
        ends: Gets what Paredown wants to be done at the end of the process.
    """
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    root, places = logging.getLogger(), sys.path[:]
    handlers, level, at_end = root.handlers[:], root.level, signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.showwarning = _print_warning
        warnings.simplefilter("default")
        for kind in (DeprecationWarning, PendingDeprecationWarning, ResourceWarning):
            warnings.simplefilter("ignore", kind)  # as Python does outside of tests
        warnings.filterwarnings("ignore", r"\s*'hydra/launcher/")  # as commands.py does
        patch.setattr(sys, "argv", words)
        patch.setattr(atexit, "register", partial(_register, atexit.register, ends))
        patch.setenv("COLUMNS", "140")
        patch.setenv("HYDRA_FULL_ERROR", "")  # the command sets it
        try:
            yield
        finally:
            for handler in root.handlers:
                if handler not in handlers:
                    handler.close()
            root.handlers[:] = handlers
            root.setLevel(level)
            sys.path[:] = places
            signal.signal(signal.SIGTERM, at_end)
            GlobalHydra.instance().clear()
            HydraConfig.instance().cfg = None
            gc.unfreeze()


def _register(
    register: Callable[..., object],
    ends: list[Callable[[], object]],
    function: Callable[..., object],
    *arguments: object,
    **named: object,
) -> Callable[..., object]:
    """Take what Paredown registers with atexit, and let others do so."""
    if str(getattr(function, "__module__", "")).startswith("paredown"):
        ends.append(partial(function, *arguments, **named))
    else:
        register(function, *arguments, **named)
    return function


def _print_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object
) -> None:
    """Print a warning as Python does; pytest would keep it for itself."""
    sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))


def runs_of(folder: Path) -> list:
    """List the runs that commands in `folder` logged, in order."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db")
    ids = [client.get_experiment_by_name("paredown").experiment_id]
    return client.search_runs(ids, order_by=["attributes.start_time"])
