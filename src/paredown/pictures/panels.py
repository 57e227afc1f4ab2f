"""The contents of a search's picture, page and table as plain data."""

from collections.abc import Sequence

from paredown.metric import MAXIMIZE, QUALITY, limited_metrics, metric_of
from paredown.pictures.scatter import Row, Scatter, SearchSummary, value
from paredown.pictures.words import BASELINE


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


def front_rows(summary: SearchSummary) -> list[Row]:
    """Return the trials of the front, the first objective's best first."""
    rows = [row for row in summary["trials"] if row["on_front"]]
    name, direction = next(iter(summary["objectives"].items()))
    return sorted(rows, key=lambda row: float(row["metrics"][name]), reverse=direction == MAXIMIZE)


def swept_names(rows: Sequence[Row]) -> list[str]:
    """List the names that trials sweep."""
    return list(dict.fromkeys(name for row in rows for name in row["params"]))
