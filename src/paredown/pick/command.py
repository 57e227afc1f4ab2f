"""The way of a pick: read, walk, show, examine, bundle, register."""

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from paredown.budget import Budget
from paredown.config import build_all, typed
from paredown.errors import BudgetError, ConfigError, require_one_of
from paredown.host import machine
from paredown.pick import Pick, bundle, result
from paredown.pick.candidates import Candidate, Field, gather
from paredown.pick.card import write_card
from paredown.pick.exam import Exam, sit
from paredown.pick.remeasure import remeasure
from paredown.pick.table import say_gives, say_misses, walk_table
from paredown.pick.walk import Walk, walk
from paredown.report import show
from paredown.run import cautions
from paredown.tracking import Tracking
from paredown.tracking.artifacts import ALIAS, find_sweep, register
from paredown.tracking.restore import Parts, RunRestorer
from paredown.tracking.tracker import Tracker


def run(cfg: DictConfig) -> None:
    """Pick the first variant that meets the budget; print the walk, leave the bundle.

    Raises:
        ConfigError: For what the user can mend.
        BudgetError: If nothing meets the budget.
    """
    parts = build_all(cfg, "pick", "budget", "tracking")
    if not parts["pick"].json:
        _run(parts)
        return
    try:
        with contextlib.redirect_stdout(sys.stderr):
            found = _run(parts)
    except BudgetError as error:
        print(json.dumps({"picked": None, "reason": str(error)}))
        raise
    print(json.dumps(found))


def _run(parts: dict[str, Any]) -> dict[str, Any]:
    """Pick; return what `pick.result.picked` says of it."""
    budget: Budget = parts["budget"]
    asked: Pick = parts["pick"]
    if not budget.limits:
        hint = "set budget.size_mb, budget.latency_ms or budget.accuracy"
        raise ConfigError(f"budget must have a limit, got none; {hint}")
    if asked.folder:  # told before runs are read and timed again
        bundle.require_free(Path(asked.folder).expanduser().absolute())
    tracking: Tracking = parts["tracking"]
    with tempfile.TemporaryDirectory(prefix="paredown-") as scratch:
        tracker = tracking.visit()
        bench = RunRestorer(tracker, Path(scratch))
        with tracking.answering():
            field = _read(tracker, bench, asked)
        chosen = choose(field, budget, asked, bench)
        place = bundle.find_place(asked.folder, chosen)
        built = bench.parts(chosen.run)
        program = bench.program(chosen)
        exam = sit(built, program, bench.program(chosen.baseline))
        card = {"card.md": write_card(chosen, exam, built, budget)}
        written = card | result.papers(exam, built.dataset)
        bundle.write(place, program, built.dataset, built.runtime, written)
        texts = cautions.read(chosen.run.tags, chosen.stage)
        show(*_told(exam, place), *(f"caution: {text}" for text in texts))
        show(_register(tracker, asked.name, chosen, exam, built, budget, place))
        return result.picked(chosen, exam, built.dataset, budget, place)


def _read(tracker: Tracker, bench: RunRestorer, asked: Pick) -> Field:
    """List the candidates of a sweep, or of the whole experiment."""
    sweep = asked.sweep
    parent = None if sweep is None else find_sweep(tracker, sweep, "pick.sweep").id
    runs = tracker.finished(parent)
    if asked.dataset is not None and runs:
        require_one_of({run.dataset for run in runs}, "pick.dataset", asked.dataset)
        runs = [run for run in runs if run.dataset == asked.dataset]
    unshippable = bench.unshippable(runs)
    field = gather(runs, machine.cpu_name(), unshippable)
    if not field.candidates:
        where = "tracking.experiment" if sweep is None else "pick.sweep"
        reason = "; ".join(field.notes) or f"{typed('run')} makes some"
        raise ConfigError(f"{where} must have finished runs to pick from, got none; {reason}")
    return field


def choose(field: Field, budget: Budget, asked: Pick, bench: RunRestorer) -> Candidate:
    """Walk, show the walk, and give its end.

    Raises:
        BudgetError: If nothing meets the budget; what comes nearest is told.
    """
    candidates = field.candidates
    if asked.remeasure:
        candidates = remeasure(candidates, budget, asked.tolerance, bench)
    figures = [candidate.figures for candidate in candidates]
    found = walk(figures, budget, asked.tolerance)
    show(walk_table(candidates, found, budget), *field.notes)
    if found.chosen is None:
        show(*say_gives(candidates, found, budget))
        raise BudgetError(_missed(candidates, found))
    return candidates[found.chosen]


def _missed(candidates: list[Candidate], found: Walk) -> str:
    near = found.nearest
    assert near is not None  # there are candidates
    told = say_misses(found.misses[near])
    return f"nothing meets the budget; {candidates[near].title} comes nearest, and misses: {told}"


def _told(exam: Exam, place: Path) -> list[str]:
    low, high = exam.interval
    folder = os.path.relpath(place)
    return [
        f"test:    {exam.accuracy:.2%} [{low:.1%}, {high:.1%}] of {exam.count} images; the "
        f"baseline {exam.baseline_hits / exam.count:.2%}",
        f"         {exam.verdict()}",
        f"bundle:  {folder}",
        f"try it:  python {folder}/predict.py IMAGE_OR_FOLDER",
    ]


def _register(
    tracker: Tracker,
    name: str | None,
    chosen: Candidate,
    exam: Exam,
    parts: Parts,
    budget: Budget,
    place: Path,
) -> str:
    """Register the model; say where it is, or why it is not."""
    models = sorted(place.glob("*.onnx"))
    if name is None:
        return "model:   not registered, since pick.name is null"
    if len(models) != 1:
        return f"model:   not registered; MLflow has no flavor for runtime {parts.runtime.name}"
    images = parts.dataset.normalize(parts.dataset.val.images[:1])
    logits = parts.runtime.load(place)(images)
    version = register(
        tracker,
        name,
        models[0],
        (chosen.run.id, chosen.stage),
        (images, logits),
        parts.runtime.threads,
        _version_tags(chosen, exam, budget),
    )
    return f"model:   models:/{name}@{ALIAS}, version {version}"


def _version_tags(chosen: Candidate, exam: Exam, budget: Budget) -> dict[str, object]:
    """Say what a version was picked for, and what it is worth."""
    figures = chosen.figures
    return {
        **{f"budget.{name}": limit for name, limit in budget.limits.items()},
        **{name: figures[name] for name in ("accuracy", "size_mb")},
        "latency_ms": figures["latency_ms"] if chosen.comparable else chosen.logged_ms,
        "measured_on": chosen.measured,
        "test_accuracy": exam.accuracy,
        "test_p_value": exam.p,
        "stage": chosen.stage,
        "sha256": chosen.sha256,
    }
