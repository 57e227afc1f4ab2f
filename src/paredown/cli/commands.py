"""The commands: `python run.py` of a checkout, `paredown run` of an installed package."""

import sys
import warnings
from collections.abc import Callable
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from paredown.cli.exits import user_errors
from paredown.cli.leftovers import no_leftovers
from paredown.cli.mistyped import check_words
from paredown.config import CONF, typed
from paredown.host.logs import open_streams
from paredown.host.process import wait_politely

# conf/hydra/launcher has the names of the plugins' own configs, which Hydra says at every start
warnings.filterwarnings(
    "ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema"
)
OmegaConf.register_new_resolver("typed", typed)  # for conf/hydra/help


open_streams()  # before anything else is opened
wait_politely()  # before torch is imported


def job(cfg: DictConfig) -> dict[str, Any]:
    """Do one job; give its result, as plain data, to a sweep on another machine.

    Undecorated, so that a worker finds it by its name, and takes the filter above with it.
    """
    with no_leftovers(), user_errors():
        from paredown.run import pipeline  # heavy, so only once there is work

        return pipeline.run(cfg)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="pick")
def _pick(cfg: DictConfig) -> None:
    with user_errors("pick"):
        from paredown.pick import command  # heavy, so only once there is work

        command.run(cfg)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="report")
def _report(cfg: DictConfig) -> None:
    with user_errors("report"):
        from paredown.report import command  # heavy, so only once there is work

        command.run(cfg)


_run = hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(job)


def run() -> None:
    """Distill, prune, quantize and measure one model; with -m, one run a value."""
    with user_errors():
        check_words(sys.argv[1:], "config")
        _run()


def pick() -> None:
    """Make a folder that deploys of the first measured variant that meets a budget."""
    if "--json" in sys.argv:
        sys.argv[sys.argv.index("--json")] = "pick.json=true"
    with user_errors("pick"):
        check_words(sys.argv[1:], "pick")
        _pick()


def report() -> None:
    """Write what MLflow keeps of finished runs as one page and one Markdown file."""
    with user_errors("report"):
        check_words(sys.argv[1:], "report")
        _report()


VERBS: dict[str, Callable[[], None]] = {"run": run, "pick": pick, "report": report}


def main() -> None:
    """Do what the first argument names."""
    verb = VERBS.get(sys.argv[1]) if sys.argv[1:] else None
    if verb is None:
        for name, each in VERBS.items():
            print(f"paredown {name:<8}{each.__doc__}")
        print("paredown VERB --help tells the rest")
        raise SystemExit(0 if sys.argv[1:] in (["--help"], ["-h"]) else 2)
    del sys.argv[1]
    verb()
