"""The commands: `python run.py` of a checkout, `paredown run` of an installed package."""

import sys
import warnings
from collections.abc import Callable
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from paredown.cli.exits import user_errors
from paredown.cli.leftovers import no_leftovers
from paredown.cli.mistyped import check_arguments
from paredown.config import CONF, typed
from paredown.host.logs import open_streams
from paredown.host.process import wait_politely

# conf/hydra/launcher shares its names with the plugins' own configs: Hydra warns at every start
warnings.filterwarnings(
    "ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema"
)
OmegaConf.register_new_resolver("typed", typed)  # for conf/hydra/help


open_streams()  # before anything else is opened
wait_politely()  # before torch is imported


def job(cfg: DictConfig) -> dict[str, Any]:
    """Run one job and return its result as plain data, for a sweep on another machine.

    Not decorated, so that a worker can import it by name, and this module's filter with it.
    """
    with no_leftovers(), user_errors():
        from paredown.run import pipeline  # heavy, so only once there is work

        return pipeline.run(cfg)


def _pick(cfg: DictConfig) -> None:
    with user_errors("pick"):
        from paredown.pick import command  # heavy, so only once there is work

        command.run(cfg)


def _report(cfg: DictConfig) -> None:
    with user_errors("report"):
        from paredown.report import command  # heavy, so only once there is work

        command.run(cfg)


def run() -> None:
    """Distill, prune, quantize and measure one model; with -m, one run per value."""
    _start(job, "config")


def pick() -> None:
    """Export the first measured variant under a budget, as a deployable folder."""
    if "--json" in sys.argv:
        sys.argv[sys.argv.index("--json")] = "pick.json=true"
    _start(_pick, "pick")


def report() -> None:
    """Write a report of finished runs from MLflow: one HTML page and one Markdown file."""
    _start(_report, "report")


def _start(task: Callable[[DictConfig], object], primary: str) -> None:
    """Check the command line, then let Hydra compose the configuration of a task and call it."""
    with user_errors(primary):
        check_arguments(sys.argv[1:], primary)
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=primary)(task)()


VERBS: dict[str, Callable[[], None]] = {"run": run, "pick": pick, "report": report}


def main() -> None:
    """Run the command that the first argument names."""
    verb = VERBS.get(sys.argv[1]) if sys.argv[1:] else None
    if verb is None:
        for name, command in VERBS.items():
            print(f"paredown {name:<8}{command.__doc__}")
        print("paredown VERB --help lists the settings of one")
        raise SystemExit(0 if sys.argv[1:] in (["--help"], ["-h"]) else 2)
    del sys.argv[1]
    verb()
