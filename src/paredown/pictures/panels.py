"""The panels of a search as plain data, for either renderer."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from paredown.metric import MAXIMIZE, QUALITY, limited_metrics, metric_of
from paredown.pictures.scatter import Scatter, SearchSummary, value
from paredown.pictures.words import BASELINE


class Growth(NamedTuple):
    """The hypervolume after each trial."""

    numbers: list[int]
    volumes: list[float]
    caption: str


class Importances(NamedTuple):
    """Swept names, the most important last, and their shares of the variation by objective."""

    names: list[str]
    shares: dict[str, list[float]]


def scatters(summary: SearchSummary) -> list[Scatter]:
    """Choose the panels: quality, or else an objective, against each cost."""
    rows = summary["trials"]

    def present(names: Sequence[str]) -> list[str]:
        return [name for name in names if any(value(row, name) is not None for row in rows)]

    objectives = present(list(summary["objectives"]))
    gains = [name for name in objectives if summary["objectives"][name] == MAXIMIZE]
    y = next(iter(present([QUALITY.name]) + gains + objectives), None)
    if y is None:
        return []
    costs = [*objectives, *summary["budget"]]
    if not {*costs} - {y}:
        costs = [metric.name for metric in limited_metrics()]
    x = [name for name in present(list(dict.fromkeys(costs))) if name != y] or ["trial"]
    panels = [Scatter(name, y, summary) for name in x]
    return [panel for panel in panels if panel.points.keys() - {BASELINE}]


def headline(summary: SearchSummary) -> str:
    """Return the result of a search in one sentence."""
    if summary["missed"]:
        return str(summary["missed"])
    count, total = len(summary["front"]), len(summary["trials"])
    if not total:
        return "no trial finished"
    names = [metric_of(name).label for name in summary["objectives"]]
    objectives = " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
    trials, verb = "trial" if total == 1 else "trials", "is" if count == 1 else "are"
    text = f"{count} of {total} {trials} {verb} on the front of {objectives}"
    untrained = sum(bool(row.get("untrained")) for row in summary["trials"])
    if untrained:
        text += f"; {untrained} could not meet the budget and were never trained"
    return text


def growth(summary: SearchSummary) -> Growth | None:
    """Return the growth of the hypervolume; None if it is 0 or of one trial."""
    volumes = list(summary["hypervolume"] or [])
    if len(volumes) < 2 or not volumes[-1] > 0:
        return None
    numbers = [row["trial"] for row in summary["trials"]]
    grew = [index for index in range(1, len(volumes)) if volumes[index] > volumes[index - 1]]
    last = numbers[grew[-1] if grew else 0]
    return Growth(numbers, volumes, f"the front last grew at trial {last} of {numbers[-1]}")


def importances(summary: SearchSummary) -> Importances | None:
    """Return the importances of the swept names; None if there are none."""
    by_objective: Mapping[str, Mapping[str, float]] = summary["importances"]
    names = {name for shares in by_objective.values() for name in shares}
    weight = {
        name: sum(shares.get(name, 0.0) for shares in by_objective.values()) for name in names
    }
    order = sorted(names, key=lambda name: (weight[name], name))
    if not order:
        return None
    return Importances(
        order,
        {
            objective: [shares.get(name, 0.0) for name in order]
            for objective, shares in by_objective.items()
        },
    )
