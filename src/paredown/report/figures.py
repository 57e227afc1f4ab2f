"""The figures of a report."""

from collections.abc import Mapping, Sequence
from typing import Any

from paredown.metric import QUALITY, metric_of
from paredown.pictures.figures import points_figure
from paredown.pictures.page import Figure, shown
from paredown.pictures.scatter import Found, Scatter
from paredown.pictures.words import BASELINE, FAST, SERIES, SLOW
from paredown.report.measured import OBJECTIVES, Measured, best, not_faster, spans
from paredown.report.widths import Widths

HEIGHT = {"l": 64, "r": 16, "t": 12, "b": 48}


def front_figures(several: Sequence[Measured], prefix: str) -> dict[str, tuple[str, Figure]]:
    """Draw all variants of one setting, the front labelled with its numbers in the table."""
    return _against(several, prefix, ("latency_ms", "size_mb"))


def _against(
    several: Sequence[Measured], prefix: str, costs: Sequence[str]
) -> dict[str, tuple[str, Figure]]:
    """Draw accuracy against costs, a figure each."""
    drawn = {}
    for x in costs:
        panel = Scatter(x, QUALITY.name, _found(several))
        if panel.points:
            drawn[f"{prefix}-{x}"] = (_caption(panel), points_figure(panel))
    return drawn


def _caption(panel: Scatter) -> str:
    """Name a figure, with how many variants have no room in it."""
    told = f"{QUALITY.label} against {metric_of(panel.x).label}"
    count = len(panel.below)
    return f"{told}; {count} far less accurate, at the lower edge" if count else told


def more_figures(several: Sequence[Measured], prefix: str) -> dict[str, tuple[str, Figure]]:
    """Draw what explains a front: accuracy against sparsity, latency against MACs."""
    drawn = _against(several, prefix, ("sparsity",))
    found = _found(several)
    panel = Scatter("macs", "latency_ms", _by_speed(found, several))
    if panel.points:
        caption = "latency against MACs: fewer MACs, but not faster, is crossed"
        drawn[f"{prefix}-macs"] = (caption, points_figure(panel))
    return drawn


def widths_figure(table: Widths) -> Figure:
    """Draw the channels of every layer, a line for each width that it was given."""
    return _layers_figure(table, table.columns, "channels", "channels")


def shares_figure(table: Widths) -> Figure:
    """Draw the share of the network's MACs that every layer has, a line likewise."""
    percent = {who: [round(100 * each, 2) for each in of] for who, of in table.shares.items()}
    return _layers_figure(table, percent, "share of the MACs, %", "% of the MACs")


def _layers_figure(
    table: Widths, columns: Mapping[str, Sequence[float]], axis: str, unit: str
) -> Figure:
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": shown(who),
            "x": [shown(name) for name in table.layers],
            "y": list(values),
            "line": {
                "shape": "hvh",
                "width": 3 if at == 0 else 1.5,
                "color": "#8b929c" if at == 0 else SERIES[(at - 1) % len(SERIES)],
            },
            "hovertemplate": f"%{{x}}: %{{y}} {unit}<extra>%{{fullData.name}}</extra>",
        }
        for at, (who, values) in enumerate(columns.items())
    ]
    layout = {
        "margin": HEIGHT,
        "hovermode": "closest",
        "xaxis": {"title": {"text": "layer, in the order of the network"}, "type": "category",
                  "showticklabels": False, "showgrid": False},
        "yaxis": {"title": {"text": axis}, "rangemode": "tozero"},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0,
                   "font": {"size": 11}},
    }  # fmt: skip
    return {"data": data, "layout": layout}


def _found(several: Sequence[Measured]) -> Found:
    """Put variants as the panels take trials; a variant's number is its place in the table."""
    on_front = set(best(several))
    rows = [
        {
            "trial": at + 1,
            "title": named(one, at),
            "metrics": one.metrics,
            "misses": {},
            "on_front": at in on_front,
        }
        for at, one in enumerate(several)
    ]
    baselines = [one.metrics for one in several if one.stage == BASELINE]
    return {
        "objectives": OBJECTIVES,
        "budget": {},
        "baseline": baselines[0] if len(baselines) == 1 else {},
        "default": None,
        "nearest": None,
        "trials": rows,
    }


def _by_speed(found: Found, several: Sequence[Measured]) -> Found:
    slow = not_faster(several)
    rows: list[dict[str, Any]] = []
    for at, row in enumerate(found["trials"]):
        note = [f"not faster than {named(several[slow[at]], slow[at])}"] if at in slow else []
        rows.append({**row, "kind": SLOW if at in slow else FAST, "notes": note})
    return {**found, "trials": rows}


def named(one: Measured, at: int) -> str:
    """Name a variant: its number in the table, its stage, its runs."""
    runs = "runs" if one.runs[1:] else "run"
    return f"variant {at + 1}: {one.title} of {runs} {spans(one.runs)}"
