"""What the panels of a search show, as plain data, whoever draws them."""

from collections.abc import Mapping, Sequence

from paredown.metric import MAXIMIZE, METRICS, QUALITY, metric_of
from paredown.pictures.scatter import Found, Scatter, value
from paredown.pictures.words import BASELINE


def scatters(found: Found) -> list[Scatter]:
    """Choose the panels: accuracy, or what comes nearest to it, against each cost."""
    rows = found["trials"]

    def have(names: Sequence[str]) -> list[str]:
        return [name for name in names if any(value(row, name) is not None for row in rows)]

    objectives = have(list(found["objectives"]))
    gains = [name for name in objectives if found["objectives"][name] == MAXIMIZE]
    y = next(iter(have([QUALITY.name]) + gains + objectives), None)
    if y is None:
        return []
    asked = [*objectives, *found["budget"]]
    costs = asked if {*asked} - {y} else [metric.name for metric in METRICS if metric.limited]
    x = [name for name in have(list(dict.fromkeys(costs))) if name != y] or ["trial"]
    panels = [Scatter(name, y, found) for name in x]
    return [panel for panel in panels if panel.points.keys() - {BASELINE}]


def headline(found: Found) -> str:
    """Say in words what was found."""
    if found["missed"]:
        return str(found["missed"])
    count, all_ = len(found["front"]), len(found["trials"])
    names = [metric_of(name).label for name in found["objectives"]]
    goals = " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
    if not all_:
        return "no trial came to its end"
    trials, are = "trial" if all_ == 1 else "trials", "is" if count == 1 else "are"
    told = f"{count} of {all_} {trials} {are} on the front of {goals}"
    spared = sum(bool(row.get("untrained")) for row in found["trials"])
    return told + (f"; {spared} could not meet the budget and were never trained" if spared else "")


def growth(found: Found) -> tuple[list[int], list[float], str] | None:
    """Give trial numbers, the hypervolume after each, and what to see in it; None if it is 0."""
    grown = found["hypervolume"] or []
    if len(grown) < 2 or not grown[-1] > 0:
        return None
    numbers = [row["trial"] for row in found["trials"]]
    last = next((at for at in range(len(grown) - 1, 0, -1) if grown[at] > grown[at - 1]), 0)
    return numbers, list(grown), f"the front last grew at trial {numbers[last]} of {numbers[-1]}"


def shares(found: Found) -> tuple[list[str], dict[str, list[float]]] | None:
    """Give the swept values, the weightiest last, and their shares by objective; or None."""
    told: Mapping[str, Mapping[str, float]] = found["importances"]
    names = {name for of in told.values() for name in of}
    weight = {name: sum(of.get(name, 0.0) for of in told.values()) for name in names}
    order = sorted(names, key=lambda name: (weight[name], name))
    if not order:
        return None
    return order, {goal: [of.get(name, 0.0) for name in order] for goal, of in told.items()}
