"""One study shared by several processes: asking, telling, recovering trials of dead processes."""

import logging
import statistics
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from hydra_plugins.paredown_sweeper import _samplers
from hydra_plugins.paredown_sweeper._config import ParetoConf
from hydra_plugins.paredown_sweeper._outcome import Outcome
from hydra_plugins.paredown_sweeper._space import Space, Value
from hydra_plugins.paredown_sweeper._storage import open_study
from paredown.budget import Budget
from paredown.host.process import LOCK, died, is_free, living, owner
from paredown.run.results import read_result

log = logging.getLogger(__name__)

OWNER, JOB, ERROR, FINISHED = "owner", "job", "error", "finished"
METRICS, BASELINE, RETRY = "metrics", "baseline", "retry_of"
UNTRAINED, SECONDS, EARLIER = "untrained", "seconds", "earlier_run"
ALIVE = ".owner-"  # a lock in the sweep's folder, of each process that works on the study
UNOWNED = 60.0  # seconds after which a trial that nobody owns is anybody's


class SharedStudy:
    """A study that several processes may work on; each trial is asked once.

    Asking happens under a lock in the sweep's folder, one process after the other. A trial takes
    the next slot, and what is sampled depends on seed, slot and the trials before it alone. A
    trial whose process died is told FAIL and waits again with the same values in a new trial.
    """

    def __init__(
        self,
        settings: ParetoConf,
        space: Space,
        objectives: dict[str, str],
        folder: Path,
        identity: dict[str, Any],
        budget: Budget | None,
        default: dict[str, Value] | None,
    ) -> None:
        self._budget = budget
        self._settings, self._space, self._objectives = settings, space, objectives
        self._folder = folder
        self._starts: list[dict[str, Value]] = _samplers.starts(
            settings.sampler, space, settings.enqueue, default
        )
        self._pending: set[int] = set()  # trials that were asked here, and are not told yet
        self._lock = FileLock(folder / ".study.lock")
        self._alive = living(folder, ALIVE)  # held as long as this process works on the study
        self._owner = {**owner(), LOCK: Path(self._alive.lock_file).name}
        self._unowned_since: dict[int, float] = {}  # when a trial without an owner was first seen
        with self._lock:
            self.study = open_study(settings.storage, settings.study_name, folder, identity)

    def ask(self) -> list[Trial]:
        """Take the next trials, n_jobs at most, as this process's own."""
        with self._lock:
            self._reap()
            count = min(self._settings.n_jobs or 1, self._missing())
            trials = [self._ask_one() for _ in range(count)]
            number = self._free_number()
            for trial in trials:
                finished_job = trial.user_attrs.get(FINISHED)
                trial.set_user_attr(JOB, number if finished_job is None else finished_job)
                number += finished_job is None
            self._pending |= {trial.number for trial in trials}
        return trials

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """Finish a trial: its values, and by how much it misses the budget; or FAIL."""
        self._finish(trial, outcome)
        self._pending.discard(trial.number)

    def _finish(self, trial: Trial, outcome: Outcome) -> None:
        (now,) = self.study.get_trials(deepcopy=False)[trial.number : trial.number + 1]
        if now.state.is_finished():  # told, but the storage went away before it said so
            return
        if outcome.error is not None:
            trial.set_user_attr(ERROR, outcome.error)
            self.study.tell(trial, state=TrialState.FAIL)
            return
        for name, value in _attributes(outcome).items():
            trial.set_user_attr(name, value)
        for name, miss in _constraints(outcome, self._budget).items():
            trial.set_constraint(name, miss)
        self.study.tell(trial, self._values(outcome))

    def _values(self, outcome: Outcome) -> list[float]:
        """Return a number for every objective, as Optuna requires.

        What an untrained file cannot tell is the median of the trained ones: it is infeasible,
        so that only the GP sampler looks at it, which a number off the scale would mislead.
        """
        return [
            outcome.metrics[name] if name in outcome.metrics else self._median(name)
            for name in self._objectives
        ]

    def _median(self, name: str) -> float:
        values = [trial.user_attrs[METRICS][name] for trial in self.trained()]
        return float(statistics.median(values or [0.0]))

    def trained(self) -> list[FrozenTrial]:
        """List the COMPLETE trials that were trained."""
        complete = self.trials(TrialState.COMPLETE)
        return [trial for trial in complete if not trial.user_attrs.get(UNTRAINED)]

    def add_earlier(self, runs: Mapping[str, tuple[dict[str, Value], Outcome]]) -> bool:
        """Let runs of earlier sweeps into a new study, as COMPLETE trials that do not count.

        Args:
            runs: Values and outcome by the run's id.

        Returns:
            Whether the study was new.
        """
        with self._lock:
            if self.trials():
                return False
            for run, (values, outcome) in runs.items():
                trial = create_trial(
                    values=self._values(outcome),
                    params=values,
                    distributions=self._space.swept,
                    user_attrs={EARLIER: run, JOB: None, **_attributes(outcome)},
                    constraints=_constraints(outcome, self._budget),
                )
                self.study.add_trial(trial)
        return True

    def folder_of(self, number: int) -> Path:
        """Name the folder of a job."""
        return self._folder / str(number)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """List the trials in these states, in order; without states all of them."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def is_done(self) -> bool:
        """Return whether the study has its trials and none is running."""
        return self._missing() == 0 and not self.trials(TrialState.RUNNING)

    def _missing(self) -> int:
        """Count the trials that somebody has yet to ask."""
        have = len(_own(self.trials(TrialState.COMPLETE, TrialState.RUNNING)))
        wanted = self._settings.n_trials
        if self._settings.sampler == _samplers.GRID:  # a point that fails, fails again
            failed = sum(ERROR in trial.user_attrs for trial in self.trials(TrialState.FAIL))
            wanted = min(wanted, len(self._starts) - failed)
        return max(0, wanted - have)

    def _ask_one(self) -> Trial:
        waiting = self.trials(TrialState.WAITING)
        slot = sum(not _abandoned(trial) for trial in _own(self.trials())) - len(waiting)
        starts = self._missing_starts()
        if not waiting and slot < len(starts):
            self.study.enqueue_trial(starts[slot])
        retried = bool(waiting) and RETRY in waiting[0].user_attrs
        # The values of a retry are given, and QMC counts every trial that it is asked for.
        name = "random" if retried and self._settings.sampler == "qmc" else self._settings.sampler
        self.study.sampler = _samplers.sampler(name, self._settings.seed, slot)
        trial = self.study.ask(self._space.swept)
        trial.set_user_attr(OWNER, self._owner)
        return trial

    def _missing_starts(self) -> list[dict[str, Value]]:
        """List the points to start with, without those that an earlier sweep had."""
        had = [trial.params for trial in self.trials() if EARLIER in trial.user_attrs]
        return [
            start for start in self._starts if not any(start.items() <= one.items() for one in had)
        ]

    def _reap(self) -> None:
        """Mark trials whose process died as FAIL, and enqueue their values."""
        for trial in self.trials(TrialState.RUNNING):
            if not self._is_orphan(trial):
                continue
            log.info("trial %d was left by a process that died; it is done again", trial.number)
            self.study.tell(trial.number, state=TrialState.FAIL)
            values = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
            if set(values) != set(self._space.swept):
                continue  # it died while it asked; its slot is free
            attributes: dict[str, Any] = {RETRY: trial.number}
            job = trial.user_attrs.get(JOB)
            if job is not None and read_result(self.folder_of(job)):
                attributes[FINISHED] = job  # it died before it told
            self.study.enqueue_trial(values, user_attrs=attributes)
        for lock in self._folder.glob(f"{ALIVE}*"):
            if is_free(lock):  # of one that has ended, whose trials wait again by now
                lock.unlink(missing_ok=True)

    def _is_orphan(self, trial: FrozenTrial) -> bool:
        who = trial.user_attrs.get(OWNER)
        if who is not None:
            ours = {**who, LOCK: None} == {**self._owner, LOCK: None}
            abandoned = ours and trial.number not in self._pending  # the storage went away
            return abandoned or died(who, self._folder)
        # Somebody died between two lines of _ask_one, unless it is asked under another lock.
        since = self._unowned_since.setdefault(trial.number, time.monotonic())
        return self._settings.storage is None or time.monotonic() - since > UNOWNED

    def _free_number(self) -> int:
        """Find a job number above all that were ever given."""
        numbers = [
            trial.user_attrs[JOB] for trial in _own(self.trials()) if JOB in trial.user_attrs
        ]
        folders = (path.name for path in self._folder.iterdir() if path.name.isdigit())
        return 1 + max([*numbers, *map(int, folders)], default=-1)


def _own(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Leave out what came from earlier sweeps."""
    return [trial for trial in trials if EARLIER not in trial.user_attrs]


def _attributes(outcome: Outcome) -> dict[str, Any]:
    return {
        METRICS: outcome.metrics,
        BASELINE: outcome.baseline,
        UNTRAINED: outcome.untrained,
        SECONDS: outcome.seconds,
    }


def _constraints(outcome: Outcome, budget: Budget | None) -> dict[str, float]:
    """Return by how much each limit is missed; one without a value is met."""
    if budget is None:
        return {}
    return dict.fromkeys(budget.limits, 0.0) | budget.misses(outcome.metrics)


def failed(trial: FrozenTrial) -> bool:
    """Return whether a trial's job ran and failed."""
    return trial.state is TrialState.FAIL and ERROR in trial.user_attrs


def _abandoned(trial: FrozenTrial) -> bool:
    """Return whether a trial's process died; its slot is reused."""
    return trial.state is TrialState.FAIL and ERROR not in trial.user_attrs
