"""The way through the house: plan, walk the path, time it, log it, show it."""

import contextlib
import logging
import time
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
from paredown.host.process import outliving
from paredown.measure.latency import Stopwatch
from paredown.metric import QUALITY, metric_of
from paredown.model.fresh import require_trained
from paredown.report import Fitted, path_table, show, told_busy
from paredown.run import cautions, record
from paredown.run.estimate import estimate_cost
from paredown.run.keys import version
from paredown.run.path import VariantPath
from paredown.run.plan import Plan, plan
from paredown.run.results import (
    DEFERRED,
    OVER_BUDGET,
    RESULT,
    own_overrides,
    read_result,
    write_result,
)
from paredown.runtime.torch import Torch
from paredown.store.hashing import key_of
from paredown.studies.contract import STUDY, keep
from paredown.tracking.contact import connection_errors
from paredown.tracking.run import Run
from paredown.tracking.tags import COMMAND, ERROR, JOB, OVER

log = logging.getLogger(__name__)

UNTRAINED = "the file would miss the budget, so nothing was trained: %s"

Shown = Fitted | str
Row = dict[str, Any]
"""A variant: its stage and its metrics by name."""


def run(cfg: DictConfig) -> dict[str, Any]:
    """Do one Hydra job: compress and evaluate a model, log it, and print a row a stage.

    In a sweep a failing job is told in its log and in its result file, and the others go on.

    Returns:
        What the result file says.

    Raises:
        ConfigError: For what the user can mend; nothing was trained then.
        BudgetError: If the file at the end would miss the budget; nothing was trained then.
    """
    start = time.monotonic()
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    digest = _digest(cfg)
    job = {"overrides": own_overrides(hydra.overrides.task), "config": digest}
    shown: list[Shown] = []
    try:
        with outliving(ConfigError, "the network's code must not end the process, got"):
            done = _run(cfg, plan(cfg), folder, digest, shown)
    except Exception as error:
        if hydra.mode != RunMode.MULTIRUN:
            raise
        told = first_line(error)
        failed = {**job, "status": "FAILED", "error": told}
        _log_failure(cfg, folder, told)
        write_result(folder, failed)
        log.exception("this job failed; the others go on")
        return failed
    done = {"seconds": round(time.monotonic() - start, 3), **job, **done}
    write_result(folder, done)
    show(*shown)
    if done["status"] == OVER_BUDGET and hydra.mode != RunMode.MULTIRUN:
        raise BudgetError(UNTRAINED % done["error"])
    return done


def _log_failure(cfg: DictConfig, folder: Path, told: str) -> None:
    """Let the sweep know of a job that failed before its run was open, on whatever machine."""
    with contextlib.suppress(ConfigError, *connection_errors()):  # a server that is away was told
        tracking = build(cfg, "tracking")
        tracker, number = tracking.visit(), record.number()  # the job has waited for it already
        if not any(job["number"] == number for job in tracker.jobs(tracking.parent)):
            tags = {JOB: str(number), COMMAND: record.command(), ERROR: told}
            tracker.start("failed", folder, tracking.parent, tags).end("FAILED")


def _digest(cfg: DictConfig) -> str:
    """Tell two jobs' settings apart, whichever sweep they belong to."""
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    plain["tracking"] = {**plain["tracking"], "parent": None, "trial": None, "version": None}
    del plain["budget"], plain["trust"]  # they judge, and make no results
    return key_of(plain)


def _run(
    cfg: DictConfig, parts: Plan, folder: Path, digest: str, shown: list[Shown]
) -> dict[str, Any]:
    """Do the work of a job; give its rows and the id of its MLflow run.

    What is to be shown is added to `shown`: printing may fail, and the result is written first.
    """
    engine, now = parts.runtime.engine, _times_now(parts)
    times_eager = now and parts.timing.eager
    dataset = parts.load()  # a refusal costs no children
    require_trained(parts.networks, dataset)
    with (
        Stopwatch(parts.timing.processes * now, engine) as watch,  # they import while we do
        Stopwatch(1 * times_eager, "torch", "torchvision", engine) as eager_watch,
        parts.store.open() as store,
    ):
        tracker = parts.tracking.connect()
        path = parts.path(dataset, store)
        made_of = _made_of(path)
        before = read_result(folder)
        same = (before.get("config"), before.get("made_of")) == (digest, made_of)
        if same and tracker.has(str(before.get("run_id"))):
            log.info("finished before; see %s", folder / RESULT)
            return before
        announce(parts, dataset, folder)
        with tracker.run(
            parts.name, folder, parts.tracking.parent, record.tags(parts, dataset)
        ) as kept:
            log.info(line(dataset, parts.normalized_by))
            sources = [stage.source for stage in parts.networks.values() if stage.source]
            unsaid = cautions.of_normalization(parts.networks.values(), parts.dataset, dataset)
            warned = cautions.warn(cautions.of_split(sources, dataset) + unsaid)
            record.log_settings(record.effective(cfg, parts), kept)
            kept.log_dataset(dataset.name, dataset.fingerprint)
            over = _over_budget(parts, dataset, path)
            if over:
                kept.log(metrics=over["rows"][0], tags={OVER: over["error"]})
                return {**over, "run_id": kept.id, "made_of": made_of}
            rows, doubts = _make(parts, dataset, path, kept)
            warned += doubts
            eager: Row = {}
            if now:
                _time(watch, parts, path, rows)
                if times_eager:
                    eager = _time_eager(eager_watch, parts, path)
                kept.log(metrics={"timing/busy_cores": watch.busy_cores})
            warned += cautions.of_cost(rows)
            record.log_rows(kept, rows, eager, parts.stages[rows[0]["stage"]].label)
            kept.log(tags=cautions.tags(warned))
            record.log_details(kept, path)
            record.keep_files(tracker, kept, path)
            found = _look_into(parts, dataset, path, folder, kept)
    table = path_table(parts.name, rows, eager)
    told = [f"caution: {caution}" for caution in warned]
    where, alone = record.where(parts, dataset), parts.tracking.parent is None
    compare = tracker.compare() if alone else []  # a sweep says both once
    shown += [table, *told, *([where] if alone else []), *told_busy(watch.busy_cores), *found]
    shown += [*tracker.where(kept), *compare]
    made = {"run_id": kept.id, "made_of": made_of, "where": where}
    return {"status": "FINISHED", "rows": rows, "eager": eager, **made}


def _make(
    parts: Plan, dataset: Dataset, path: VariantPath, kept: Run
) -> tuple[list[Row], list[cautions.Caution]]:
    """Make and evaluate every stage's variant; return their rows, not timed yet, and cautions."""
    rows: list[Row] = []
    warned: list[cautions.Caution] = []
    for index, name in enumerate(path.names):
        note = parts.stages[name].note
        rows.append({"stage": name, "note": note, **path.measured(index)})
        log.info(_step(rows))
        warned += cautions.warn(cautions.of_quality(rows[-1], parts.stages[name], dataset))
        kept.log_curves(f"train/{name}", path.curves(index))
    for row in rows:
        row["sparsity"] = 1 - row["params"] / rows[0]["params"]
    return rows, warned


def _made_of(path: VariantPath) -> str:
    """Tell results apart that one configuration gives, of other images, networks or code."""
    return key_of(version(), [path.keys.program(index) for index in range(len(path.names))])


def _over_budget(parts: Plan, dataset: Dataset, path: VariantPath) -> dict[str, Any]:
    """Say by how much the file at the end would miss the budget; empty if it would not.

    Nothing is trained for it. A file that the store has needs no such check.
    """
    limited = [name for name in parts.budget.limits if metric_of(name).untrained]
    if not limited or path.is_kept(len(path.names) - 1):
        return {}
    row = estimate_cost(parts, dataset, parts.budget)
    told = parts.budget.complaint(row)
    if not told:
        return {}
    log.info(UNTRAINED, told)
    return {"status": OVER_BUDGET, "error": told, "rows": [row]}


def _look_into(
    parts: Plan, dataset: Dataset, path: VariantPath, folder: Path, kept: Run
) -> list[str]:
    """Do the run's study, if it has one, and keep what it leaves; give its words."""
    if parts.study is None:
        return []
    place = folder / STUDY
    place.mkdir(exist_ok=True)
    told = parts.study(path, place)
    keep(place, kept)
    return [told]


def _step(rows: list[Row]) -> str:
    """Say in one line what the last stage did: before -> after."""
    told = []
    for known in (QUALITY, metric_of("size_mb"), metric_of("params")):
        told.append(f"{known.name} " + " -> ".join(known.cell(row, True) for row in rows[-2:]))
    return f"{rows[-1]['stage']}: " + ", ".join(told)


def _times_now(parts: Plan) -> bool:
    """Tell whether a job takes latency itself; a sweep may leave that for its end."""
    alone = HydraConfig.get().mode != RunMode.MULTIRUN
    return alone or parts.timing.latency != DEFERRED


def _time(watch: Stopwatch, parts: Plan, path: VariantPath, rows: list[Row]) -> None:
    """Add latency and speed-up to every row; the first is the baseline."""
    programs = [(parts.runtime, path.shipped(index)) for index in range(len(rows))]
    for row, latency in zip(rows, watch.time(programs, path.image, parts.timing), strict=True):
        row |= latency.metrics()


def _time_eager(watch: Stopwatch, parts: Plan, path: VariantPath) -> Row:
    """Time the baseline in eager PyTorch, to tell the runtime's gain from the compression's."""
    runtime = parts.runtime
    programs = [
        (Torch(runtime.threads, "torch"), path.weights(0)),
        (runtime, path.shipped(0)),
    ]
    eager, lowered = watch.time(programs, path.image, parts.timing.brief())
    return {**eager.metrics(), "runtime_speedup": lowered.speedup}
