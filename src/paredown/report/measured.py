"""The variants of finished runs: which can be compared, which are best, which gained nothing."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median

from paredown.front import Metrics, front
from paredown.metric import METRICS, QUALITY
from paredown.tracking.reader import Logged, under

OBJECTIVES = {metric.name: metric.direction for metric in METRICS if metric.limited}


@dataclass(frozen=True, order=True)
class Setting:
    """What figures hold for; those of two settings are not compared.

    Args:
        dataset: Name and fingerprint.
        cpu: Name of the machine's.
        runtime: Its name and number of threads.
    """

    dataset: str
    cpu: str
    runtime: str


@dataclass(frozen=True)
class Measured:
    """A file that ships, however many runs made and measured it.

    Args:
        runs: Numbers of the runs, in order.
        name: Of the first run.
        stage: That made it, in the first run.
        title: The same for people, with what has to be said beside it.
        baseline: Tells the file that its speed-up is against from others.
        against: Names it for people.
        metrics: The median over the runs of each; latency differs from run to run.
    """

    runs: tuple[int, ...]
    name: str
    stage: str
    title: str
    baseline: str
    metrics: Metrics
    against: str = "the baseline"


def stage_metrics(run: Logged, stage: str) -> dict[str, float]:
    """Return the metrics of one stage of a run."""
    return under(stage, run.metrics)


def variants(runs: Sequence[Logged]) -> dict[Setting, list[Measured]]:
    """Gather the variants of runs, each file once, by what their figures hold for.

    Args:
        runs: Number 1 first.

    Returns:
        By setting, in order; within one the most accurate first, of equal ones the smaller.
    """
    files: dict[tuple[Setting, str], list[tuple[int, Logged, str]]] = defaultdict(list)
    for number, run in enumerate(runs, start=1):
        for stage in run.stages:
            if OBJECTIVES.keys() <= stage_metrics(run, stage).keys():
                files[setting_of(run), _file(run, stage)].append((number, run, stage))
    found: dict[Setting, list[Measured]] = defaultdict(list)
    for (setting, _), made in files.items():
        found[setting].append(_measured(made))
    for several in found.values():
        several.sort(key=lambda one: (-one.metrics[QUALITY.name], one.metrics["size_mb"], one.runs))
    return dict(sorted(found.items()))


def setting_of(run: Logged) -> Setting:
    """Say what a run's figures hold for."""
    return Setting(*(run.tags.get(name, "unknown") for name in ("dataset", "cpu", "runtime")))


def best(several: Sequence[Measured]) -> list[int]:
    """List the front of accuracy, size and latency, as places in the list."""
    return front([one.metrics for one in several], OBJECTIVES)


def not_faster(several: Sequence[Measured]) -> dict[int, int]:
    """Find the variants that have fewer MACs than another one and yet are not faster.

    The other's latency must be no larger, and its speed-up against the same baseline no smaller,
    even at the ends of both 95 % intervals: latency alone drifts from run to run, and among many
    runs some would be fast by chance.

    Args:
        several: Of one setting.

    Returns:
        By place of such a variant the place of the other one, that with the highest speed-up.
    """
    found: dict[int, int] = {}
    for same in _by_baseline(several).values():
        more: list[int] = []  # those with more MACs, but for such as another of them beats
        for _, group in groupby(same, key=lambda at: several[at].metrics["macs"]):
            equal = list(group)
            for at in equal:
                faster = [other for other in more if _is_faster(several[other], several[at])]
                if faster:
                    found[at] = max(faster, key=lambda other: _ends(several[other])[0])
            for at in equal:
                if not any(_covers(several[other], several[at]) for other in more):
                    more = [other for other in more if not _covers(several[at], several[other])]
                    more.append(at)
    return found


def _is_faster(other: Measured, one: Measured) -> bool:
    """Tell whether another is at least as fast, by latency and at the ends of the intervals."""
    in_time = other.metrics["latency_ms"] <= one.metrics["latency_ms"]
    return in_time and _ends(other)[0] >= _ends(one)[1]


def _covers(one: Measured, other: Measured) -> bool:
    """Tell whether one is faster than all that another is faster than."""
    in_time = one.metrics["latency_ms"] <= other.metrics["latency_ms"]
    return in_time and _ends(one)[0] >= _ends(other)[0]


def _by_baseline(several: Sequence[Measured]) -> dict[str, list[int]]:
    """List places by baseline, the most MACs first."""
    found: dict[str, list[int]] = defaultdict(list)
    for at, one in enumerate(several):
        if {"macs", "speedup"} <= one.metrics.keys():
            found[one.baseline].append(at)
    for places in found.values():
        places.sort(key=lambda at: -several[at].metrics["macs"])
    return found


def _ends(one: Measured) -> tuple[float, float]:
    """Give the ends of the speed-up's interval; timed in one process it has none."""
    speedup = one.metrics["speedup"]
    return one.metrics.get("speedup_low", speedup), one.metrics.get("speedup_high", speedup)


def spans(numbers: Sequence[int]) -> str:
    """Write rising numbers briefly: 1-3, 5."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in found)


def _measured(made: Sequence[tuple[int, Logged, str]]) -> Measured:
    _, run, stage = made[0]
    all_ = [stage_metrics(each, name) for _, each, name in made]
    metrics = {name: median(of[name] for of in all_ if name in of) for name in all_[0]}
    numbers = tuple(dict.fromkeys(number for number, _, _ in made))
    title, against = run.title(stage), against_of(run)
    return Measured(numbers, run.name, stage, title, _baseline(run), metrics, against)


def against_of(run: Logged) -> str:
    """Name what a run's speed-ups are against, with its size: one name may have several widths."""
    size = run.metrics.get(f"{run.stages[0]}/size_mb") if run.stages else None
    by_name = run.name.partition("-")[0] + ("" if size is None else f", {size:.3g} MB")
    return run.tags.get("baseline", by_name)


def _file(run: Logged, stage: str) -> str:
    """Tell files apart, and equal ones whose speed-up is against another baseline."""
    return f"{run.tags.get(f'{stage}/sha256', f'{run.id}/{stage}')} {_baseline(run)}"


def _baseline(run: Logged) -> str:
    return run.tags.get("baseline/sha256", run.id)
