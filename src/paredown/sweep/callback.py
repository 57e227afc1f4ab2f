"""Hydra's callback of a sweep: check all jobs first, one parent run, one table, one exit code."""

import atexit
import contextlib
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
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from paredown.cli.exits import user_errors
from paredown.config import typed
from paredown.errors import (
    LAUNCHERS,
    BudgetError,
    ConfigError,
    RunError,
    install_command,
    require,
)
from paredown.run.results import (
    FRONT,
    PARENT,
    VERSION,
    read_json,
    read_results,
    write_json,
)
from paredown.tracking.tags import SWEEP

if TYPE_CHECKING:
    from paredown.run.plan import Plan
    from paredown.tracking.tracker import Tracker

log = logging.getLogger(__name__)

SWEEPER = "hydra_plugins.paredown_sweeper.paredown_sweeper.GridSweeper"  # composes no job again

GRID = "sweep.png"  # the picture of a grid's jobs, in the sweep's folder and on its run
MADE_OF = "made_of.json"  # in a search's folder: what its trials have in common


class SweepCallback(Callback):
    """Hydra calls it before the first job of a multirun and after the last."""

    def __init__(self) -> None:
        self._end: Any = None
        self._parts: Any = None
        self._parent: Any = None
        self._tracker: Any = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a job that cannot work, then open the parent run and name it to every job."""
        with _fatal():
            from paredown.model.fresh import require_trained_early
            from paredown.run.keys import version
            from paredown.run.plan import plan
            from paredown.sweep.grid import check_jobs

            _require_launcher(config.hydra.launcher._target_)
            jobs, name = _jobs(config), kwargs["config_name"]
            _require_own_folder(config)
            if jobs:
                self._parts = check_jobs(jobs, lambda own: compose(name, overrides=own))
                with read_write(config.hydra.sweeper):
                    config.hydra.sweeper._target_ = SWEEPER
            else:  # the sweeper makes up the jobs as it goes
                self._parts = plan(config)
                require_trained_early(self._parts)
            _check_comparison(self._parts, jobs)
            tracker = self._parts.tracking.connect()
            if not jobs:
                _require_same(self._parts, _folder(config))
            overrides = config.hydra.overrides.task
            swept = (
                " ".join(_swept(overrides))
                or config.hydra.runtime.choices.get("experiment")
                or "sweep"
            )
            folder = _folder(config)
            folder.mkdir(parents=True, exist_ok=True)
            _settle(config, len(jobs))
            parent = tracker.reopen(SWEEP, str(folder), folder) or tracker.start(
                swept, folder, tags={SWEEP: str(folder)}
            )
            self._end, self._parent, self._tracker = parent.end, parent, tracker
            atexit.register(self._interrupted, config)
            with read_write(config.hydra.overrides):
                overrides.append(PARENT + parent.id)
                overrides.append(VERSION + version())

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Show all jobs in one table; a failed one makes the exit code 1."""
        with _fatal():
            from paredown.measure.latency import DEFERRED
            from paredown.report import jobs_table, show

            _send_left(self._tracker, config)
            if OmegaConf.select(config, "measure.latency") == DEFERRED:
                from paredown.sweep.latency import time_sweep

                time_sweep(self._tracker, self._parent.id, _folder(config))
            jobs = self._jobs(config)
            front = self._keep_front(config)
            # A search goes on over failed jobs, and ends by itself where they are too many.
            searched = front and _searches(config)
            failed = not searched and any(job["status"] == "FAILED" for job in jobs)
            wheres = dict.fromkeys(job["where"] for job in jobs if job.get("where"))
            show(jobs_table(str(config.hydra.sweep.dir), jobs), *wheres)
            if not _searches(config):
                self._draw(config, jobs)
            self._compare(config, jobs)
            show(*self._tracker.compare())
            end, self._end = self._end, None
            end("FAILED" if failed else "FINISHED")
            _send_left(self._tracker, config)
            if failed:
                raise SystemExit(1)
            if front.get("missed"):
                raise BudgetError(front["missed"])

    def _draw(self, config: DictConfig, jobs: Sequence[dict[str, Any]]) -> None:
        """Keep on the parent run of a grid a picture of its jobs by what was swept."""
        from paredown.report import show
        from paredown.report.grid import draw_grid

        file = _folder(config) / GRID
        if draw_grid(jobs, config.hydra.runtime.choices, file):
            self._parent.log_file(file)
            show(f"look:    {file}")

    def _compare(self, config: DictConfig, jobs: Sequence[dict[str, Any]]) -> None:
        """Let the experiment compare its jobs, and keep on the parent run what that leaves."""
        if self._parts.comparison is None:
            return
        lacking = [job["number"] for job in jobs if job["status"] != "FINISHED"]
        if lacking or not jobs:
            log.warning("nothing is compared: jobs %s are not finished", lacking)
            return
        from paredown.report import show
        from paredown.studies.contract import STUDY, log_files, read_jobs

        place = _folder(config) / STUDY
        place.mkdir(exist_ok=True)
        summary = self._parts.comparison(read_jobs(jobs), self._parts.open_path, place)
        log_files(place, self._parent)
        self._parent.log(tags={"mlflow.note.content": summary})
        show(summary)

    def _jobs(self, config: DictConfig) -> list[dict[str, Any]]:
        """Read the results of all jobs; those that ran elsewhere left theirs in MLflow only."""
        from paredown.tracking.contact import connection_errors

        here = {job["number"]: job for job in read_results(_folder(config))}
        elsewhere: dict[int, dict[str, Any]] = {}
        with contextlib.suppress(*connection_errors()):  # then those that are here have to do
            newest_first = self._tracker.jobs(self._parent.id)
            elsewhere = {job["number"]: job for job in reversed(newest_first)}
        both = elsewhere | here
        return [both[number] for number in sorted(both)]

    def _interrupted(self, config: DictConfig) -> None:
        """Show what was done when the process ends before the sweep does."""
        if self._end is None:
            return
        from paredown.report import jobs_table, show

        folder = str(config.hydra.sweep.dir)
        failed = self._keep_front(config).get("error")
        how = "given up" if failed else "interrupted"
        show(jobs_table(f"{folder}, {how}", read_results(_folder(config))))
        show(f"the same command with hydra.sweep.dir={folder} does the rest")
        self._end("FAILED" if failed else "KILLED")

    def _keep_front(self, config: DictConfig) -> dict[str, Any]:
        """Keep on the parent run the front that a search left, drawn; empty if there was none."""
        file = _folder(config) / FRONT
        front = read_json(file)
        if not front:
            return {}
        from paredown.pictures import front_page, front_picture
        from paredown.report import show
        from paredown.report.search import about_search

        front["about"] = about_search(config, self._parts, front, file.parent)
        write_json(file, front)
        picture, page = file.with_suffix(".png"), file.with_suffix(".html")
        front_picture(front, picture)
        front_page(front, page)
        for artifact in (file, picture, page):
            self._parent.log_file(artifact)
        show(f"look:    {page}")
        grown = [{"hypervolume": volume} for volume in front["hypervolume"] or []]
        self._parent.log_curves("search", grown)
        self._parent.log(
            metrics={"front/points": len(front["front"]), "front/trials": len(front["trials"])},
            tags={"front": ",".join(map(str, front["front"]))},
        )
        return front


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
    require(_searches(config) or not searched, "hydra.sweep.dir", rule, str(folder), hint)


def _searches(config: DictConfig) -> bool:
    """Return whether a sweeper chooses the jobs during the sweep."""
    return not str(config.hydra.sweeper._target_).endswith((".BasicSweeper", ".GridSweeper"))


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

    Args:
        config: Of the sweep; changed.
        jobs: Of a grid; 0 where a sweeper makes them as it goes.
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


def _send_left(tracker: "Tracker", config: DictConfig) -> None:
    """Send what a tracking server could not take while it was away."""
    from paredown.tracking.run import upload

    try:
        count = upload(_folder(config), tracker.uri)
    except ConfigError as error:
        log.warning("%s", error)
        return
    if count:
        log.info("sent %d runs that the tracking server could not take before", count)


def _folder(config: DictConfig) -> Path:
    return Path(config.hydra.sweep.dir).absolute()


def _jobs(config: DictConfig) -> list[list[str]]:
    """List the overrides of every job of a grid; none if another sweeper makes the jobs."""
    if _searches(config):
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
