"""The variants of finished runs: those comparable, the front, and those that gained nothing."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median

from paredown.front import Metrics, front
from paredown.metric import QUALITY, limited_metrics
from paredown.tracking.reader import Logged, under

OBJECTIVES = {metric.name: metric.direction for metric in limited_metrics()}


@dataclass(frozen=True, order=True)
class Setting:
    """The conditions of figures; those of two settings are not compared.

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
    """A file that ships, whichever runs wrote and measured it.

    Args:
        runs: Numbers of the runs, in order.
        name: Of the first run.
        stage: Its stage in the first run.
        title: The same for people, with its note.
        baseline: Identifies the file that its speed-up is against.
        metrics: The median of each over the runs; latency differs from run to run.
        against: The name of the baseline for people.
    """

    runs: tuple[int, ...]
    name: str
    stage: str
    title: str
    baseline: str
    metrics: Metrics
    against: str = "the baseline"


def variants(runs: Sequence[Logged]) -> dict[Setting, list[Measured]]:
    """Collect the variants of runs, each file once, by setting in order.

    Within a setting the most accurate comes first, of equal ones the smaller.
    """
    files: dict[tuple[Setting, str], list[tuple[int, Logged, str]]] = defaultdict(list)
    for number, run in enumerate(runs, start=1):
        for stage in run.stages:
            if OBJECTIVES.keys() <= under(stage, run.metrics).keys():
                files[setting_of(run), _file(run, stage)].append((number, run, stage))
    by_setting: dict[Setting, list[Measured]] = defaultdict(list)
    for (setting, _), occurrences in files.items():
        by_setting[setting].append(_measured(occurrences))
    for several in by_setting.values():
        several.sort(key=lambda one: (-one.metrics[QUALITY.name], one.metrics["size_mb"], one.runs))
    return dict(sorted(by_setting.items()))


def setting_of(run: Logged) -> Setting:
    """Return the setting of a run."""
    return Setting(*(run.tags.get(name, "unknown") for name in ("dataset", "cpu", "runtime")))


def best(several: Sequence[Measured]) -> list[int]:
    """List the front of the metrics that a budget can limit, as indices."""
    return front([one.metrics for one in several], OBJECTIVES)


def not_faster(several: Sequence[Measured]) -> dict[int, int]:
    """Return the variants that have fewer MACs than another one and yet are not faster.

    The other's latency must be no larger, and its speed-up against the same baseline no smaller,
    even at the ends of both 95 % intervals: latency alone drifts from run to run, and among many
    runs some would be fast by chance.

    Returns:
        By index of such a variant the index of the other one with the highest speed-up.
    """
    slow: dict[int, int] = {}
    for indices in _by_baseline(several).values():
        larger: list[int] = []  # those with more MACs, less any that another of them beats
        for _, group in groupby(indices, key=lambda index: several[index].metrics["macs"]):
            equal = list(group)
            for index in equal:
                faster = [other for other in larger if _is_faster(several[other], several[index])]
                if faster:
                    slow[index] = max(faster, key=lambda other: _ends(several[other])[0])
            for index in equal:
                one = several[index]
                if not any(_covers(several[other], one) for other in larger):
                    larger = [other for other in larger if not _covers(one, several[other])]
                    larger.append(index)
    return slow


def _is_faster(other: Measured, one: Measured) -> bool:
    """Check whether another is at least as fast, by latency and at the ends of the intervals."""
    in_time = other.metrics["latency_ms"] <= one.metrics["latency_ms"]
    return in_time and _ends(other)[0] >= _ends(one)[1]


def _covers(one: Measured, other: Measured) -> bool:
    """Check whether one is faster than all that another is faster than."""
    in_time = one.metrics["latency_ms"] <= other.metrics["latency_ms"]
    return in_time and _ends(one)[0] >= _ends(other)[0]


def _by_baseline(several: Sequence[Measured]) -> dict[str, list[int]]:
    """List indices by baseline, the most MACs first."""
    by_baseline: dict[str, list[int]] = defaultdict(list)
    for index, one in enumerate(several):
        if {"macs", "speedup"} <= one.metrics.keys():
            by_baseline[one.baseline].append(index)
    for indices in by_baseline.values():
        indices.sort(key=lambda index: -several[index].metrics["macs"])
    return by_baseline


def _ends(one: Measured) -> tuple[float, float]:
    """Return the ends of the speed-up's interval; timed in one process it has none."""
    speedup = one.metrics["speedup"]
    return one.metrics.get("speedup_low", speedup), one.metrics.get("speedup_high", speedup)


def spans(numbers: Sequence[int]) -> str:
    """Write rising numbers briefly: 1-3, 5."""
    pairs: list[list[int]] = []
    for number in numbers:
        if pairs and number == pairs[-1][1] + 1:
            pairs[-1][1] = number
        else:
            pairs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in pairs)


def _measured(occurrences: Sequence[tuple[int, Logged, str]]) -> Measured:
    _, run, stage = occurrences[0]
    rows = [under(name, other.metrics) for _, other, name in occurrences]
    metrics = {name: median(row[name] for row in rows if name in row) for name in rows[0]}
    numbers = tuple(dict.fromkeys(number for number, _, _ in occurrences))
    title, against = run.title(stage), against_of(run)
    return Measured(numbers, run.name, stage, title, _baseline(run), metrics, against)


def against_of(run: Logged) -> str:
    """Return the name of a run's baseline, with its size: one name may have several widths."""
    size = run.metrics.get(f"{run.stages[0]}/size_mb") if run.stages else None
    by_name = run.name.partition("-")[0] + ("" if size is None else f", {size:.3g} MB")
    return run.tags.get("baseline", by_name)


def _file(run: Logged, stage: str) -> str:
    """Return an identity of a file and its baseline."""
    return f"{run.tags.get(f'{stage}/sha256', f'{run.id}/{stage}')} {_baseline(run)}"


def _baseline(run: Logged) -> str:
    return run.tags.get("baseline/sha256", run.id)
