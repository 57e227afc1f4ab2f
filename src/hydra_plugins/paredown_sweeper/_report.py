"""The front of a study: as plain data, as a table, and the commands that show more."""

import statistics
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from hydra_plugins.paredown_sweeper._space import Value
from hydra_plugins.paredown_sweeper._study import BASELINE, JOB, METRICS, SECONDS, UNTRAINED
from paredown.budget import Budget
from paredown.front import front, hypervolume
from paredown.metric import MAXIMIZE, metric_of
from paredown.pictures.panels import front_rows, swept_names
from paredown.pictures.scatter import Row
from paredown.pictures.words import value_text
from paredown.report.fitted import Column, Fitted

FEW = 10  # trials; importances of fewer are noise


def summary(
    trials: Sequence[FrozenTrial],
    objectives: dict[str, str],
    budget: Budget | None,
    default: dict[str, Value] | None,
) -> dict[str, Any]:
    """Gather the COMPLETE trials of a study in plain data, the content of front.json.

    `hypervolume` is that after each trial, null without a baseline; `front`, `default` and
    `nearest` are numbers of trials; `missed` is a message if nothing meets the budget;
    `seconds_saved` counts what was not trained.
    """
    limits = budget or Budget(None, None, None)
    points = [trial.user_attrs[METRICS] for trial in trials]
    inside = [index for index, point in enumerate(points) if limits.meets(point)]
    on_front = [inside[index] for index in front([points[index] for index in inside], objectives)]
    trained = [trial for trial in trials if not trial.user_attrs[UNTRAINED]]
    baseline = trained[0].user_attrs[BASELINE] if trained else {}
    reference = _reference(baseline, objectives)
    nearest = trials[limits.nearest(points)] if points and not inside else None
    return {
        "objectives": objectives,
        "budget": limits.limits,
        "baseline": baseline,
        "baselines": len({_network(trial) for trial in trained}),
        "reference": reference,
        "hypervolume": _growth(points, inside, objectives, reference),
        "front": [trials[index].number for index in on_front],
        "default": next((trial.number for trial in trials if trial.params == default), None),
        "importances": importances(trained, objectives),
        "seconds_saved": _seconds_saved(trials),
        "nearest": None if nearest is None else nearest.number,
        "trials": [_row(trial, limits, index in on_front) for index, trial in enumerate(trials)],
        "missed": "" if nearest is None else _missed(nearest, limits),
    }


def _row(trial: FrozenTrial, limits: Budget, on_front: bool) -> dict[str, Any]:
    metrics = trial.user_attrs[METRICS]
    return {
        "trial": trial.number,
        "job": trial.user_attrs[JOB],
        "params": trial.params,
        "metrics": metrics,
        "misses": limits.misses(metrics),
        "on_front": on_front,
        "untrained": trial.user_attrs[UNTRAINED],
    }


def _network(trial: FrozenTrial) -> tuple[float | None, ...]:
    """Return what identifies a trial's baseline; latency differs between any two."""
    baseline = trial.user_attrs[BASELINE]
    return tuple(baseline.get(name) for name in ("params", "macs", "size_mb"))


def importances(
    trained: Sequence[FrozenTrial], objectives: dict[str, str]
) -> dict[str, dict[str, float]]:
    """Compute the importance of each swept name per objective; empty for few trials.

    Source: Hutter, Hoos, Leyton-Brown, An Efficient Approach for Assessing Hyperparameter
    Importance (fANOVA), ICML 2014; as in Optuna.
    """
    if len(trained) < FEW:
        return {}
    study = optuna.create_study(
        directions=[StudyDirection[way.upper()] for way in objectives.values()]
    )
    study.add_trials(trained)
    shares = {}
    for index, name in enumerate(objectives):
        own = [trial.values[index] for trial in trained]
        if min(own) == max(own):  # nothing moved it
            continue
        shares[name] = get_param_importances(
            study,
            evaluator=FanovaImportanceEvaluator(seed=0),
            target=lambda trial, index=index: trial.values[index],  # type: ignore[misc]
        )
    return shares


def saved(data: dict[str, Any]) -> str:
    """Return a line on the trials that were not trained and the seconds saved; empty if none."""
    left = [str(row["trial"]) for row in data["trials"] if row["untrained"]]
    if not left:
        return ""
    message = f"{len(left)} trials would miss the budget and were not trained: {', '.join(left)}"
    seconds = data["seconds_saved"]
    return message if seconds is None else f"{message}; about {seconds:.0f} s saved"


def _seconds_saved(trials: Sequence[FrozenTrial]) -> float | None:
    """Take what a trained trial costs, in the median, for each that was not; None: unknown."""
    spent: dict[bool, list[float]] = {True: [], False: []}
    for trial in trials:
        if trial.user_attrs[SECONDS] is not None:
            spent[trial.user_attrs[UNTRAINED]].append(trial.user_attrs[SECONDS])
    if not spent[True] or not spent[False]:
        return None
    return len(spent[True]) * statistics.median(spent[False]) - sum(spent[True])


def front_table(data: dict[str, Any]) -> Fitted:
    """Lay out the front, one row per trial, the first objective's best first."""
    rows = front_rows(data)
    limits = [*data["objectives"], *data["budget"]]
    have = rows[0]["metrics"] if rows else {}
    metrics = [name for name in dict.fromkeys([*limits, "latency_ms"]) if name in have]
    columns = [
        Column("trial", [str(row["trial"]) for row in rows]),
        Column("job", ["earlier" if row["job"] is None else str(row["job"]) for row in rows], 3),
        *(_swept(name, rows) for name in swept_names(rows)),
        *(
            Column(
                name,
                [metric_of(name).write(row["metrics"][name]) for row in rows],
                int(name not in limits),
            )
            for name in metrics
        ),
    ]
    return Fitted(_title(data), columns)


def _swept(name: str, rows: Sequence[Row]) -> Column:
    """Lay out what was swept under a name, of which the last part does where room is short."""
    cells = [value_text(row["params"].get(name, "")) for row in rows]
    return Column(name, cells, 2, Column(name.rpartition(".")[2], cells))


def _missed(near: FrozenTrial, budget: Budget) -> str:
    """Return the message that no trial meets the budget, with the nearest."""
    message = budget.complaint(near.user_attrs[METRICS])
    return f"no trial meets the budget; trial {near.number} comes nearest: {message}"


def _title(data: dict[str, Any]) -> str:
    count, all_ = len(data["front"]), len(data["trials"])
    volume = data["hypervolume"][-1] if data["hypervolume"] else None
    suffix = "" if volume is None else f", hypervolume {volume:.4g}"
    return f"the front: {count} of {all_} trials{suffix}"


def _reference(baseline: dict[str, float], objectives: dict[str, str]) -> dict[str, float] | None:
    """Take the worst that counts: 0 of what is to be large, the baseline's of the rest."""
    if any(way != MAXIMIZE and name not in baseline for name, way in objectives.items()):
        return None
    return {name: 0 if way == MAXIMIZE else baseline[name] for name, way in objectives.items()}


def _growth(
    points: Sequence[dict[str, float]],
    inside: Sequence[int],
    objectives: dict[str, str],
    reference: dict[str, float] | None,
) -> list[float] | None:
    """Measure the hypervolume after each trial; those that miss the budget add nothing."""
    if reference is None:
        return None
    best: list[dict[str, float]] = []
    grown: list[float] = []
    for number, point in enumerate(points):
        if number in inside:
            both = [*best, point]
            best = [both[index] for index in front(both, objectives)]
        grown.append(hypervolume(best, objectives, reference))
    return grown
