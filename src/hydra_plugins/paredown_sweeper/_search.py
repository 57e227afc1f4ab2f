"""The search itself: ask, launch, tell, until the study has its trials."""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import CategoricalDistribution, distribution_to_json
from optuna.exceptions import StorageInternalError
from optuna.trial import Trial, TrialState
from sqlalchemy.exc import OperationalError

from hydra_plugins.paredown_sweeper import _report, _samplers
from hydra_plugins.paredown_sweeper._config import ParetoConf
from hydra_plugins.paredown_sweeper._objectives import objectives_of
from hydra_plugins.paredown_sweeper._outcome import Outcome, outcome_of, read_outcome
from hydra_plugins.paredown_sweeper._space import Space, Value, marks, parse, values_of
from hydra_plugins.paredown_sweeper._storage import where
from hydra_plugins.paredown_sweeper._study import FINISHED, JOB, SharedStudy
from paredown.budget import Budget
from paredown.config import build, build_all
from paredown.errors import RunError, first_line, require, require_one_of, require_seed, worker_died
from paredown.host.retry import PATIENCE, retry_until
from paredown.measure.latency import DEFERRED
from paredown.metric import MAXIMIZE, MINIMIZE, metric_names
from paredown.report import show
from paredown.run.results import FRONT, TRIAL, read_any_result, write_json

log = logging.getLogger(__name__)

ELSEWHERE = ("tracking.", "store.", "budget.")  # overrides that do not change what is measured
T = TypeVar("T")
AWAY = (StorageInternalError, OperationalError)  # a database that may be restarted
POLL = 0.5  # seconds between two looks at what other processes do


class Search:
    """One process's part in a search: its launcher runs the jobs, its loader composes them.

    Raises:
        ConfigError: For what the user can mend; no job was launched then.
    """

    def __init__(
        self,
        settings: ParetoConf,
        config: DictConfig,
        launcher: Launcher,
        loader: ConfigLoader,
        arguments: Sequence[str],
    ) -> None:
        self._settings, self._config, self._launcher = settings, config, launcher
        check(settings)
        self._space = parse(settings.params, arguments, loader)
        self._objectives = objectives_of(settings.objectives, self._space.swept)
        for corner in _corners(self._space):
            self._job = loader.load_sweep_config(config, corner)
            build_all(self._job)
        self._default = self._unsearched(loader)
        limited = OmegaConf.select(config, "budget._target_")
        self._budget: Budget | None = build(config, "budget") if limited else None
        self._check_latency()
        self._folder = Path(config.hydra.sweep.dir).absolute()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._study = SharedStudy(
            settings,
            self._space,
            self._objectives,
            self._folder,
            self._identity(),
            self._budget,
            self._default,
        )
        self._let_in_earlier()
        OmegaConf.save(config, self._folder / "multirun.yaml")
        self._failures = 0
        self._error = ""

    def run(self) -> list[Sequence[JobReturn]]:
        """Search, then show the front; an interrupted search shows the front so far.

        Raises:
            RunError: If too many jobs failed.
        """
        try:
            return self._loop()
        except RunError as error:
            self._error = str(error)
            raise
        finally:
            self._show()

    def _loop(self) -> list[Sequence[JobReturn]]:
        start, batches = time.monotonic(), []
        waited = False
        while not _patiently(self._study.is_done):
            if self._settings.timeout and time.monotonic() - start > self._settings.timeout:
                log.info("hydra.sweeper.timeout is over; the same command goes on")
                break
            trials = _patiently(self._study.ask)
            if trials:
                batches.append(self._do(trials))
                continue
            if not waited:
                log.info("waiting for trials of other processes")
            waited = True
            time.sleep(POLL)
        return batches

    def _do(self, trials: list[Trial]) -> Sequence[JobReturn]:
        """Launch a batch, and tell what came of it."""
        fresh = [trial for trial in trials if FINISHED not in trial.user_attrs]
        for trial in trials:
            if trial not in fresh:
                folder = self._study.folder_of(trial.user_attrs[FINISHED])
                self._tell(trial, read_outcome(folder, self._objectives))
        if not fresh:
            return []
        overrides = [self._overrides(trial) for trial in fresh]
        jobs, outcomes = self._launch(overrides, fresh[0].user_attrs[JOB])
        for trial, outcome in zip(fresh, outcomes, strict=True):
            self._tell(trial, outcome)
            if outcome.error is not None:
                log.warning("trial %d failed: %s", trial.number, outcome.error)
                self._failures += 1
                last = outcome.error
        limit = self._settings.max_failure_rate * self._settings.n_trials
        if self._failures > limit:
            raise RunError(
                f"{self._failures} trials failed, more than hydra.sweeper.max_failure_rate "
                f"allows; the last one: {last}"
            )
        return jobs

    def _launch(
        self, overrides: Sequence[Sequence[str]], number: int
    ) -> tuple[Sequence[JobReturn], list[Outcome]]:
        """Run a batch; of one whose worker died take the jobs that were done before."""
        try:
            jobs = self._launcher.launch(overrides, initial_job_idx=number)
            return jobs, [outcome_of(job, self._objectives) for job in jobs]
        except Exception as error:
            if not worker_died(error):
                raise
            log.warning("a worker died: %s", first_line(error))
        folders = [self._study.folder_of(number + index) for index in range(len(overrides))]
        worker_lost = Outcome(error="its worker died")
        return [], [
            read_outcome(folder, self._objectives) if read_any_result(folder) else worker_lost
            for folder in folders
        ]

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        _patiently(lambda: self._study.tell(trial, outcome))

    def _overrides(self, trial: Trial) -> list[str]:
        """Write a job's overrides; its MLflow run learns which trial it is."""
        tracked = OmegaConf.select(self._job, "tracking._target_") is not None
        number = [f"{TRIAL}{trial.number}"] if tracked else []
        return self._space.overrides(trial.params) + number

    def _let_in_earlier(self) -> None:
        if not self._settings.warm_start:
            return
        from hydra_plugins.paredown_sweeper._earlier import earlier_runs  # heavy

        runs = earlier_runs(self._job, self._space, self._objectives)
        if self._study.add_earlier(runs):
            log.info("%d runs of earlier sweeps are known to this one", len(runs))

    def _show(self) -> None:
        trials = self._study.trials(TrialState.COMPLETE)
        data = _report.summary(trials, self._objectives, self._budget, self._default)
        data["error"] = self._error
        write_json(self._folder / FRONT, data)
        show(_report.front_table(data), *filter(None, [data["missed"], _report.saved(data)]))
        show(f"study:   optuna-dashboard {where(self._settings.storage, self._folder)}")

    def _unsearched(self, loader: ConfigLoader) -> dict[str, Value] | None:
        """Return the configuration's own values of the swept names; None if they are no point."""
        try:
            job = loader.load_sweep_config(self._config, list(self._space.fixed.values()))
        except HydraException:  # a swept group has no default
            return None
        return self._space.default(job)

    def _check_latency(self) -> None:
        """Refuse to search what is measured only when the search is over."""
        if OmegaConf.select(self._job, "measure.latency") != DEFERRED:
            return
        limits = self._budget.limits if self._budget else {}
        for name in (*self._objectives, *limits):
            timed = name.startswith(("latency", "speedup"))
            rule, hint = f"be now where {name} is searched", "or name other objectives"
            require(not timed, "measure.latency", rule, DEFERRED, hint)

    def _identity(self) -> dict[str, Any]:
        """Return what must not change within a study."""
        fixed = [text for text in self._space.fixed.values() if not text.startswith(ELSEWHERE)]
        return {
            "hydra.sweeper.objectives": self._objectives,
            "the space": {
                name: distribution_to_json(one) for name, one in self._space.swept.items()
            },
            "the fixed overrides": sorted(fixed),
            "budget": self._budget.limits if self._budget else {},
        }


def _patiently(attempt: Callable[[], T]) -> T:
    """Try until the study's database answers; a search that gives up can be taken up again."""
    try:
        return retry_until(attempt, lambda error: isinstance(error, AWAY), "the study's database")
    except AWAY as error:
        raise RunError(
            f"hydra.sweeper.storage has not answered for {PATIENCE} s: {first_line(error)}; "
            "the same command goes on"
        ) from error


def check(settings: ParetoConf) -> None:
    """Refuse settings that cannot work.

    Raises:
        ConfigError: For the first of them.
    """
    prefix = "hydra.sweeper."
    require(settings.n_trials >= 1, f"{prefix}n_trials", "be at least 1", settings.n_trials)
    jobs = settings.n_jobs or 0
    require(jobs >= 1, f"{prefix}n_jobs", "be at least 1, or null", settings.n_jobs)
    require_seed(f"{prefix}seed", settings.seed)
    rate = settings.max_failure_rate
    require(0 <= rate <= 1, f"{prefix}max_failure_rate", "lie in [0, 1]", rate)
    timeout = settings.timeout
    require(timeout is None or timeout > 0, f"{prefix}timeout", "be above 0 seconds", timeout)
    require_one_of(_samplers.NAMES, f"{prefix}sampler", settings.sampler)
    if settings.objectives is None:
        return
    mapping = isinstance(settings.objectives, dict)
    rule = "map metrics to maximize or minimize"
    require(mapping, f"{prefix}objectives", rule, settings.objectives)
    count = len(settings.objectives)
    require(1 <= count <= 3, f"{prefix}objectives", "name one to three metrics", count)
    for name, way in settings.objectives.items():
        require_one_of(metric_names(), f"a name in {prefix}objectives", name)
        require_one_of((MAXIMIZE, MINIMIZE), f"{prefix}objectives.{name}", way)


def _corners(space: Space) -> list[list[str]]:
    """List jobs that between them have every name, both ends and every choice."""
    low = {name: marks(one)[0] for name, one in space.swept.items()}
    points = [low, {name: marks(one)[-1] for name, one in space.swept.items()}]
    for name, one in space.swept.items():
        if isinstance(one, CategoricalDistribution):
            points += [{**low, name: value} for value in values_of(name, one)[1:-1]]
    return [space.overrides(point) for point in points]
