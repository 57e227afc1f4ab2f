"""The command `pick.py`: walk the candidates, evaluate, bundle and register the choice."""

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
from paredown.metric import limited_metrics
from paredown.pick import Pick, bundle, result
from paredown.pick.candidates import Candidate, CandidateSet, gather
from paredown.pick.card import write_card
from paredown.pick.remeasure import remeasure
from paredown.pick.table import relaxation_lines, walk_table, write_misses
from paredown.pick.test_result import TestResult, evaluate_on_test
from paredown.pick.walk import walk
from paredown.report import show
from paredown.run import cautions
from paredown.tracking import Tracking
from paredown.tracking.artifacts import ALIAS, find_sweep, register
from paredown.tracking.restore import Parts, RunRestorer
from paredown.tracking.tracker import Tracker


def run(cfg: DictConfig) -> None:
    """Pick the first variant that meets the budget; print the walk and write the bundle.

    Raises:
        ConfigError: For what the user can mend.
        BudgetError: If nothing meets the budget.
    """
    parts = build_all(cfg, "pick", "budget", "tracking")
    arguments = parts["pick"], parts["budget"], parts["tracking"]
    if not parts["pick"].json:
        _run(*arguments)
        return
    try:
        with contextlib.redirect_stdout(sys.stderr):
            summary = _run(*arguments)
    except BudgetError as error:
        print(json.dumps({"picked": None, "reason": str(error)}))
        raise
    print(json.dumps(summary))


def _run(pick: Pick, budget: Budget, tracking: Tracking) -> dict[str, Any]:
    """Pick, and return `result.pick_summary`."""
    if not budget.limits:
        hint = "set budget.size_mb, budget.latency_ms or budget.accuracy"
        raise ConfigError(f"budget must have a limit, got none; {hint}")
    if pick.folder:  # checked before runs are read and timed again
        bundle.require_free(Path(pick.folder).expanduser().absolute())
    with tempfile.TemporaryDirectory(prefix="paredown-") as scratch:
        tracker = tracking.visit()
        restorer = RunRestorer(tracker, Path(scratch))
        with tracking.answering():
            candidate_set = _read(tracker, restorer, pick)
        candidate = choose(candidate_set, budget, pick, restorer)
        folder = bundle.bundle_folder(pick.folder, candidate)
        parts = restorer.parts(candidate.run)
        program = restorer.program(candidate)
        test = evaluate_on_test(parts, program, restorer.program(candidate.baseline))
        card = {"card.md": write_card(candidate, test, parts, budget)}
        texts = card | result.result_files(test, parts.dataset)
        bundle.write(folder, program, parts.dataset, parts.runtime, texts)
        caution_texts = cautions.read(candidate.run.tags, candidate.stage)
        show(*_test_lines(test, folder), *(f"caution: {text}" for text in caution_texts))
        tags = _version_tags(candidate, test, budget)
        show(_register(tracker, pick.name, candidate, parts, folder, tags))
        return result.pick_summary(candidate, test, parts.dataset, budget, folder)


def _read(tracker: Tracker, restorer: RunRestorer, pick: Pick) -> CandidateSet:
    """List the candidates of a sweep, or of the whole experiment."""
    parent = None if pick.sweep is None else find_sweep(tracker, pick.sweep, "pick.sweep").id
    runs = tracker.finished(parent)
    if pick.dataset is not None and runs:
        require_one_of({run.dataset for run in runs}, "pick.dataset", pick.dataset)
        runs = [run for run in runs if run.dataset == pick.dataset]
    candidate_set = gather(runs, machine.cpu_name(), restorer.unshippable(runs))
    if not candidate_set.candidates:
        key = "tracking.experiment" if pick.sweep is None else "pick.sweep"
        reason = "; ".join(candidate_set.notes) or f"{typed('run')} makes some"
        raise ConfigError(f"{key} must have finished runs to pick from, got none; {reason}")
    return candidate_set


def choose(
    candidate_set: CandidateSet, budget: Budget, pick: Pick, restorer: RunRestorer
) -> Candidate:
    """Walk the candidates, print the walk, and return the choice.

    Raises:
        BudgetError: If nothing meets the budget; it names what comes nearest.
    """
    candidates = candidate_set.candidates
    if pick.remeasure:
        candidates = remeasure(candidates, budget, pick.tolerance, restorer)
    result = walk([candidate.figures for candidate in candidates], budget, pick.tolerance)
    show(walk_table(candidates, result, budget), *candidate_set.notes)
    if result.chosen is not None:
        return candidates[result.chosen]
    show(*relaxation_lines(candidates, result, budget))
    assert result.nearest is not None  # there are candidates
    nearest, misses = candidates[result.nearest], write_misses(result.misses[result.nearest])
    raise BudgetError(
        f"nothing meets the budget; {nearest.title} comes nearest, and misses: {misses}"
    )


def _test_lines(test: TestResult, place: Path) -> list[str]:
    low, high = test.interval
    folder = os.path.relpath(place)
    return [
        f"test:    {test.accuracy:.2%} [{low:.1%}, {high:.1%}] of {test.count} images; the "
        f"baseline {test.baseline_hits / test.count:.2%}",
        f"         {test.verdict()}",
        f"bundle:  {folder}",
        f"try it:  python {folder}/predict.py IMAGE_OR_FOLDER",
    ]


def _register(
    tracker: Tracker,
    name: str | None,
    candidate: Candidate,
    parts: Parts,
    folder: Path,
    tags: dict[str, object],
) -> str:
    """Register the model; return a line with its address, or the reason why there is none."""
    models = sorted(folder.glob("*.onnx"))
    if name is None:
        return "model:   not registered, since pick.name is null"
    if len(models) != 1:
        return f"model:   not registered; MLflow has no flavor for runtime {parts.runtime.name}"
    images = parts.dataset.example
    example = images, parts.runtime.load(folder)(images)
    source = candidate.run.id, candidate.stage
    version = register(tracker, name, models[0], source, example, parts.runtime.threads, tags)
    return f"model:   models:/{name}@{ALIAS}, version {version}"


def _version_tags(candidate: Candidate, test: TestResult, budget: Budget) -> dict[str, object]:
    """Return the tags of a registered version: its budget, figures and origin."""
    figures = candidate.reported_figures
    return {
        **{f"budget.{name}": limit for name, limit in budget.limits.items()},
        **{metric.name: figures[metric.name] for metric in limited_metrics()},
        "measured_on": candidate.measured,
        "test_accuracy": test.accuracy,
        "test_p_value": test.p_value,
        "stage": candidate.stage,
        "sha256": candidate.sha256,
    }
