"""Hydra's callback of a sweep: check all jobs first, one parent run, one table, one exit code."""

import atexit
import logging
import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from paredown.cli.composition import is_search
from paredown.cli.exits import user_errors
from paredown.config import typed
from paredown.errors import LAUNCHERS, ConfigError, RunError, install_command, require
from paredown.run.results import FRONT, PARENT, VERSION, read_json, write_json
from paredown.tracking.tags import SWEEP

if TYPE_CHECKING:
    from paredown.run.plan import Plan
    from paredown.sweep.opened import OpenSweep

log = logging.getLogger(__name__)

SWEEPER = "hydra_plugins.paredown_sweeper.paredown_sweeper.GridSweeper"  # composes no job again
MADE_OF = "made_of.json"  # in a search's folder: what its trials have in common


class SweepCallback(Callback):
    """Hydra calls it before the first job of a multirun and after the last."""

    def __init__(self) -> None:
        self._sweep: OpenSweep | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a job that cannot work, then open the parent run and name it to every job."""
        with _fatal():
            self._sweep = _open(config, kwargs["config_name"])
            atexit.register(self._sweep.interrupt)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Show all jobs in one table; a failed one makes the exit code 1."""
        with _fatal():
            assert self._sweep is not None
            self._sweep.finish()


def _open(config: DictConfig, name: str) -> "OpenSweep":
    """Check all jobs of a sweep, and open its parent run; `config` is changed for the jobs."""
    from paredown.model.fresh import require_trained_early
    from paredown.run.keys import version
    from paredown.run.plan import plan
    from paredown.sweep.grid import check_jobs

    _require_launcher(config.hydra.launcher._target_)
    jobs, folder = _jobs(config), _folder(config)
    _require_own_folder(config)
    if jobs:
        first = check_jobs(jobs, lambda own: compose(name, overrides=own))
        with read_write(config.hydra.sweeper):
            config.hydra.sweeper._target_ = SWEEPER
    else:  # the sweeper proposes the jobs as it goes
        first = plan(config)
        require_trained_early(first)
    _check_comparison(first, jobs)
    tracker = first.tracking.connect()
    if not jobs:
        _require_same(first, folder)
    overrides = config.hydra.overrides.task
    title = " ".join(_swept(overrides)) or config.hydra.runtime.choices.get("experiment")
    folder.mkdir(parents=True, exist_ok=True)
    _settle(config, len(jobs))
    parent = tracker.reopen(SWEEP, str(folder), folder)
    parent = parent or tracker.start(title or "sweep", folder, tags={SWEEP: str(folder)})
    with read_write(config.hydra.overrides):
        overrides.append(PARENT + parent.id)
        overrides.append(VERSION + version())
    from paredown.sweep.opened import OpenSweep  # heavy

    return OpenSweep(config, first, tracker, parent)


class NoSweep(Callback):
    """For a command that does one thing: Hydra calls it before a multirun writes anything."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse."""
        with user_errors():
            raise ConfigError(f"{typed(kwargs['config_name'])} does one thing and takes no -m")


def _swept(overrides: Sequence[str]) -> list[str]:
    """List the overrides that have more than one value."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return [str(override.input_line) for override in parsed if override.is_sweep_override()]


def _check_comparison(parts: Any, jobs: Sequence[Sequence[str]]) -> None:
    """Refuse jobs that the experiment could not compare."""
    if parts.comparison is None:
        return
    from paredown.studies.contract import settings

    hint = "leave hydra/sweeper out"
    require(bool(jobs), "comparison", "be of a grid of jobs", "a search", hint)
    parts.comparison.check([settings(job) for job in jobs], list(parts.stages))


def _require_launcher(target: str) -> None:
    """Refuse a launcher whose package is not installed."""
    extra = next((name for name in LAUNCHERS if f"hydra_{name}_launcher" in target), None)
    there = extra is None or find_spec(f"hydra_plugins.hydra_{extra}_launcher") is not None
    hint = "" if there else install_command(str(extra))
    require(there, "hydra/launcher", "be one that is installed", extra, hint)


def _require_own_folder(config: DictConfig) -> None:
    """Refuse a grid in the folder of a search: its jobs would count as the search's."""
    folder = _folder(config)
    searched = (folder / FRONT).exists() or (folder / "study.journal").exists()
    rule = "be a folder of its own for jobs that nothing searches"
    hint = "it holds a search; add hydra/sweeper=pareto to go on with that"
    require(is_search(config.hydra) or not searched, "hydra.sweep.dir", rule, str(folder), hint)


def _require_same(parts: "Plan", folder: Path) -> None:
    """Refuse to go on with a search of other images, networks or code: its trials would be mixed.

    The jobs of a grid each compare that for themselves, and are done again.
    """
    from paredown.run.keys import version

    dataset = parts.dataset.load()
    sources = (stage.source for stage in parts.stages.values() if stage.source)
    now = {
        "Paredown": version(),
        "the data set": dataset.fingerprint,
        "the code or weights of a network": [source.fingerprint for source in sources],
    }
    before = read_json(folder / MADE_OF)
    started = (folder / "study.journal").exists() or (folder / FRONT).exists()
    for what, value in now.items():
        if (before or started) and before.get(what) != value:
            raise ConfigError(
                f"hydra.sweep.dir must hold trials of what is searched now, got {folder}, in which "
                f"{what} was another; take another folder for another search"
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / MADE_OF, now)


def _settle(config: DictConfig, jobs: int) -> None:
    """Let workers find the sweep's folder wherever they stand, and share the cores of this host.

    The number of jobs is 0 where a sweeper makes them as it goes.
    """
    target = config.hydra.launcher._target_
    if not any(f"hydra_{name}_launcher" in target for name in LAUNCHERS):
        return
    with read_write(config.hydra), open_dict(config.hydra.job.env_set):
        config.hydra.sweep.dir = str(_folder(config))
        if target.endswith("submitit_launcher.LocalLauncher"):  # all at once, and no limits
            at_once = jobs or config.hydra.sweeper.n_jobs or 2
            threads = max(1, (os.cpu_count() or 1) // at_once)
            config.hydra.job.env_set.setdefault("OMP_NUM_THREADS", str(threads))


def _folder(config: DictConfig) -> Path:
    return Path(config.hydra.sweep.dir).absolute()


def _jobs(config: DictConfig) -> list[list[str]]:
    """List the overrides of every job of a grid; none if another sweeper makes the jobs."""
    if is_search(config.hydra):
        return []
    params = config.hydra.sweeper.params or {}
    texts = [f"{key}={value}" for key, value in params.items()] + list(config.hydra.overrides.task)
    overrides = OverridesParser.create().parse_overrides(texts)
    return [job for batch in BasicSweeper.split_arguments(overrides, None) for job in batch]


@contextmanager
def _fatal() -> Iterator[None]:
    """End the sweep on any exception; Hydra would turn it into a warning and go on."""
    with user_errors():
        try:
            yield
        except (ConfigError, RunError, HydraException, OmegaConfBaseException, OSError):
            raise
        except Exception:
            traceback.print_exc()
            raise SystemExit(1) from None
