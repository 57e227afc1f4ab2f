"""One Hydra job: plan it, walk its path of variants, time their files, log and show them."""

import contextlib
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from paredown.cli.announce import announce
from paredown.config import build
from paredown.dataset import Dataset
from paredown.dataset.preprocessing import line
from paredown.errors import BudgetError, ConfigError, first_line
from paredown.host.process import refusing_exit
from paredown.measure.latency import DEFERRED, Stopwatch
from paredown.metric import QUALITY, metric_of
from paredown.model.fresh import require_trained
from paredown.report import Fitted, busy_warning, path_table, show
from paredown.run import cautions, record
from paredown.run.cautions import Caution
from paredown.run.estimate import estimate_cost
from paredown.run.keys import version
from paredown.run.path import VariantPath
from paredown.run.plan import Plan, plan
from paredown.run.results import OVER_BUDGET, RESULT, Row, own_overrides, read_result, write_result
from paredown.runtime.torch import Torch
from paredown.store.hashing import key_of
from paredown.studies.contract import STUDY, log_files
from paredown.tracking.contact import connection_errors
from paredown.tracking.run import Run
from paredown.tracking.tags import COMMAND, ERROR, JOB, OVER
from paredown.tracking.tracker import Tracker

log = logging.getLogger(__name__)

UNTRAINED = "the file would miss the budget, so nothing was trained: %s"


def run(cfg: DictConfig) -> dict[str, Any]:
    """Do one Hydra job: compress and evaluate a model, log it, and print one row per stage.

    In a sweep a failing job is reported in its log and its result file, and the others go on.

    Returns:
        The content of the result file.

    Raises:
        ConfigError: For what the user can mend; nothing was trained then.
        BudgetError: If the file at the end would miss the budget; nothing was trained then.
    """
    start = time.monotonic()
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    digest = _digest(cfg)
    settings = {"overrides": own_overrides(hydra.overrides.task), "config": digest}
    try:
        with refusing_exit(ConfigError, "the network's code must not end the process, got"):
            job = Job(cfg, plan(cfg), folder, digest)
            result = job.result()
    except Exception as error:
        if hydra.mode != RunMode.MULTIRUN:
            raise
        message = first_line(error)
        failure = {**settings, "status": "FAILED", "error": message}
        _log_failure(cfg, folder, message)
        write_result(folder, failure)
        log.exception("this job failed; the others go on")
        return failure
    result = {"seconds": round(time.monotonic() - start, 3), **settings, **result}
    write_result(folder, result)
    show(*job.output)
    if result["status"] == OVER_BUDGET and hydra.mode != RunMode.MULTIRUN:
        raise BudgetError(UNTRAINED % result["error"])
    return result


def _digest(cfg: DictConfig) -> str:
    """Hash the settings of a job, whichever sweep it belongs to."""
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    plain["tracking"] = {**plain["tracking"], "parent": None, "trial": None, "version": None}
    del plain["budget"], plain["trust"]  # they judge results and make none
    return key_of(plain)


def _log_failure(cfg: DictConfig, folder: Path, message: str) -> None:
    """Log a job that failed before its run was open, so that its sweep sees it on any machine."""
    with contextlib.suppress(ConfigError, *connection_errors()):  # reported already
        tracking = build(cfg, "tracking")
        tracker, number = tracking.visit(), record.number()  # the job has waited for it already
        if not any(job["number"] == number for job in tracker.jobs(tracking.parent)):
            tags = {JOB: str(number), COMMAND: record.command(), ERROR: message}
            tracker.start("failed", folder, tracking.parent, tags).end("FAILED")


@dataclass
class Job:
    """The work of one job.

    Args:
        digest: Of its settings.
        output: Tables and lines to print once the result is written: printing may fail.
        cautions: Warned of so far.
    """

    cfg: DictConfig
    plan: Plan
    folder: Path
    digest: str
    output: list[Fitted | str] = field(default_factory=list)
    cautions: list[Caution] = field(default_factory=list)

    def result(self) -> dict[str, Any]:
        """Do the work, or return the result of the same job that finished here before."""
        plan, engine = self.plan, self.plan.runtime.engine
        dataset = plan.load()  # a refusal costs no child processes
        require_trained(plan.networks, dataset)
        now = self._times_now
        eager = now and plan.timing.eager
        with (
            Stopwatch(plan.timing.processes * now, engine) as watch,  # they import meanwhile
            Stopwatch(1 * eager, "torch", "torchvision", engine) as eager_watch,
            plan.store.open() as store,
        ):
            tracker = plan.tracking.connect()
            path = plan.path(dataset, store)
            if earlier := self._finished_before(tracker, path):
                return earlier
            announce(plan, dataset, self.folder)
            tags, parent = record.tags(plan, dataset), plan.tracking.parent
            with tracker.run(plan.name, self.folder, parent, tags) as run:
                self._log_start(dataset, run)
                if result := self._over_budget(dataset, path, run):
                    return result
                rows = self._rows(dataset, path, run)
                eager_row = self._time(watch, eager_watch, path, rows, run) if now else {}
                self._log_rows(tracker, path, rows, eager_row, run)
                lines = self._study(path, run)
            self._show(tracker, dataset, rows, eager_row, watch.busy_cores, lines, run)
        where = record.where(plan, dataset)
        result = {"status": "FINISHED", "rows": rows, "eager": eager_row, "run_id": run.id}
        return {**result, "made_of": made_of(path), "where": where}

    @property
    def _times_now(self) -> bool:
        """Whether the job takes latency itself; a sweep may defer that to its end."""
        alone = HydraConfig.get().mode != RunMode.MULTIRUN
        return alone or self.plan.timing.latency != DEFERRED

    def _finished_before(self, tracker: Tracker, path: VariantPath) -> dict[str, Any]:
        """Return the result of the same job in this folder; empty if there is none."""
        before = read_result(self.folder)
        same = (before.get("config"), before.get("made_of")) == (self.digest, made_of(path))
        if not same or not tracker.has(str(before.get("run_id"))):
            return {}
        log.info("finished before; see %s", self.folder / RESULT)
        return before

    def _log_start(self, dataset: Dataset, run: Run) -> None:
        plan = self.plan
        log.info(line(dataset, plan.normalized_by))
        stages = plan.networks.values()
        sources = [stage.source for stage in stages if stage.source]
        self._warn(cautions.of_split(sources, dataset))
        self._warn(cautions.of_normalization(stages, plan.dataset, dataset))
        record.log_settings(record.effective(self.cfg, plan), run)
        run.log_dataset(dataset.name, dataset.fingerprint)

    def _warn(self, several: list[Caution]) -> None:
        self.cautions += cautions.warn(several)

    def _over_budget(self, dataset: Dataset, path: VariantPath, run: Run) -> dict[str, Any]:
        """Return the result of a job whose file would miss the budget; empty if it would not.

        Nothing is trained for it. A file that the store has needs no such check.
        """
        budget = self.plan.budget
        known = [name for name in budget.limits if metric_of(name).untrained]
        if not known or path.is_stored(len(path.names) - 1):
            return {}
        row = estimate_cost(self.plan, dataset, budget)
        message = budget.complaint(row)
        if not message:
            return {}
        log.info(UNTRAINED, message)
        run.log(metrics=row, tags={OVER: message})
        result = {"status": OVER_BUDGET, "error": message, "rows": [row]}
        return {**result, "run_id": run.id, "made_of": made_of(path)}

    def _rows(self, dataset: Dataset, path: VariantPath, run: Run) -> list[Row]:
        """Make and evaluate the variant of every stage; latency is taken later."""
        rows: list[Row] = []
        for index, name in enumerate(path.names):
            stage = self.plan.stages[name]
            rows.append({"stage": name, "note": stage.note, **path.measured(index)})
            log.info(_progress(rows))
            self._warn(cautions.of_quality(rows[-1], stage, dataset))
            run.log_curves(f"train/{name}", path.curves(index))
        for row in rows:
            row["sparsity"] = 1 - row["params"] / rows[0]["params"]
        return rows

    def _time(
        self, watch: Stopwatch, eager_watch: Stopwatch, path: VariantPath, rows: list[Row], run: Run
    ) -> Row:
        """Add latency and speed-up to every row; return the baseline's in eager PyTorch, if taken.

        Eager PyTorch tells the runtime's gain from the compression's.
        """
        runtime, timing = self.plan.runtime, self.plan.timing
        programs = [(runtime, path.shipped(index)) for index in range(len(rows))]
        image = path.dataset.example
        for row, latency in zip(rows, watch.time(programs, image, timing), strict=True):
            row |= latency.metrics()
        run.log(metrics={"timing/busy_cores": watch.busy_cores})
        if not timing.eager:
            return {}
        eager = Torch(runtime.threads, "torch")
        programs = [(eager, path.weights(0)), (runtime, path.shipped(0))]
        slow, lowered = eager_watch.time(programs, image, timing.brief())
        return {**slow.metrics(), "runtime_speedup": lowered.speedup}

    def _log_rows(
        self, tracker: Tracker, path: VariantPath, rows: list[Row], eager: Row, run: Run
    ) -> None:
        self.cautions += cautions.of_cost(rows)
        record.log_rows(run, rows, eager, self.plan.stages[rows[0]["stage"]].label)
        run.log(tags=cautions.tags(self.cautions))
        record.log_details(run, path)
        record.keep_files(tracker, run, path)

    def _study(self, path: VariantPath, run: Run) -> list[str]:
        """Do the run's study, if it has one, and keep its files; return its findings."""
        if self.plan.study is None:
            return []
        place = self.folder / STUDY
        place.mkdir(exist_ok=True)
        findings = self.plan.study(path, place)
        log_files(place, run)
        return [findings]

    def _show(
        self,
        tracker: Tracker,
        dataset: Dataset,
        rows: list[Row],
        eager: Row,
        busy_cores: float,
        findings: list[str],
        run: Run,
    ) -> None:
        alone = self.plan.tracking.parent is None  # a sweep prints the last lines once
        self.output += [
            path_table(self.plan.name, rows, eager),
            *(f"caution: {caution}" for caution in self.cautions),
            *([record.where(self.plan, dataset)] if alone else []),
            *busy_warning(busy_cores),
            *findings,
            *tracker.where(run),
            *(tracker.compare() if alone else []),
        ]


def made_of(path: VariantPath) -> str:
    """Hash the images, networks and code behind results, which one configuration does not fix."""
    return key_of(version(), [path.keys.program(index) for index in range(len(path.names))])


def _progress(rows: list[Row]) -> str:
    """Return the last stage's effect in one line: before -> after."""
    changes = []
    for metric in (QUALITY, metric_of("size_mb"), metric_of("params")):
        values = " -> ".join(metric.cell(row, alone=True) for row in rows[-2:])
        changes.append(f"{metric.name} {values}")
    return f"{rows[-1]['stage']}: " + ", ".join(changes)
