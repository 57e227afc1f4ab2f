"""Runs that earlier sweeps made with the same fixed settings, to begin a study with."""

from collections.abc import Iterable, Mapping

from omegaconf import DictConfig

from hydra_plugins.paredown_sweeper._outcome import Outcome
from hydra_plugins.paredown_sweeper._space import Space, Value
from paredown.errors import require
from paredown.metric import metric_names
from paredown.run.plan import plan
from paredown.run.record import conditions, group_of, optional, settings
from paredown.tracking.reader import Logged

JUDGES = ("budget", "experiment")  # params that make no difference to what a run measured


def earlier_runs(
    job: DictConfig, space: Space, objectives: Iterable[str]
) -> dict[str, tuple[dict[str, Value], Outcome]]:
    """Find finished runs that this search could have made: same settings, data and machine.

    The job's configuration has hydra's own node, and nothing swept; a run must have the objectives.

    Returns:
        Values and outcome by the run's id; the oldest first, of equal values the newest.

    Raises:
        ConfigError: If the configuration logs to no MLflow store.
    """
    key, rule = "hydra.sweeper.warm_start", "be false where there is no tracking to read from"
    require("tracking" in job, key, rule, True)
    parts = plan(job)
    tags = conditions(parts, parts.load())
    swept = {name.rpartition("@")[2]: name for name in space.swept}
    ignored = (*swept, *JUDGES)
    params = settings(job, job.hydra.runtime.choices)
    wanted = _fixed({name: str(value) for name, value in params.items()}, ignored)
    leaves_out = optional(job)
    matches: dict[tuple[Value, ...], tuple[str, dict[str, Value], Outcome]] = {}
    for run in parts.tracking.connect().finished():
        same = all(run.tags.get(name) == value for name, value in tags.items())
        if not same or not _agrees(_fixed(run.params, ignored), wanted, leaves_out):
            continue
        texts = {name: run.params.get(param, "") for param, name in swept.items()}
        values, outcome = space.read(texts), _outcome(run)
        if values is None or not all(name in outcome.metrics for name in objectives):
            continue
        matches.setdefault(tuple(values.values()), (run.id, values, outcome))
    return {run: (values, outcome) for run, values, outcome in reversed(matches.values())}


def _fixed(params: Mapping[str, str], ignored: tuple[str, ...]) -> dict[str, str]:
    """Leave out what is swept, with what belongs to a swept group."""
    return {
        name: value
        for name, value in params.items()
        if name.partition(".")[0] not in ignored and name not in ignored
    }


def _agrees(params: Mapping[str, str], wanted: Mapping[str, str], optional: set[str]) -> bool:
    """Compare what a run logged with what is wanted; it logs no `optional` node without use."""
    lacks = {group_of(name) for name in wanted.keys() - params.keys()}
    return params.items() <= wanted.items() and lacks <= optional


def _outcome(run: Logged) -> Outcome:
    """Read the metrics of a run's last stage and of its first."""

    def of(prefix: str) -> dict[str, float]:
        names = (*metric_names(), "speedup_low", "speedup_high")
        return {name: run.metrics[prefix + name] for name in names if prefix + name in run.metrics}

    return Outcome(of(f"{run.stages[-1]}/"), of(f"{run.stages[0]}/"))  # rounded without a stage
