"""The panels of a search as Plotly's figures."""

import math
from typing import Any

from paredown.pictures.page import Figure, shown
from paredown.pictures.panels import Row, Scatter
from paredown.pictures.scale import Range, ticks
from paredown.pictures.words import (
    AXES,
    BARS,
    BASELINE,
    COLORS,
    DEFAULT,
    DOMINATED,
    FAST,
    FRONT,
    LIMIT,
    MISSED,
    NEAREST,
    SLOW,
    TOLD,
    UNTRAINED,
    form,
    say,
)

ROOM, LETTER, RADIUS = (480.0, 270.0), 12, 6  # px of a panel in a window of usual width
LOOKS: dict[str, dict[str, Any]] = {
    DOMINATED: {"symbol": "circle", "size": 7},
    MISSED: {"symbol": "circle-open", "size": 7},
    FRONT: {"symbol": "circle", "size": 11},
    NEAREST: {"symbol": "circle", "size": 11},
    DEFAULT: {"symbol": "square-open", "size": 17, "line": {"width": 2}},
    BASELINE: {"symbol": "star", "size": 15},
    FAST: {"symbol": "circle", "size": 8},
    SLOW: {"symbol": "x", "size": 9},
    UNTRAINED: {"symbol": "line-ns-open", "size": 9, "line": {"width": 1.5}},
}
PLAIN = {"margin": {"l": 64, "r": 16, "t": 12, "b": 48}, "hovermode": "closest"}
UP, RIGHT = {1: "top", 0: "middle", -1: "bottom"}, {1: "right", 0: "center", -1: "left"}
BESIDE = {"overlaying": "y", "range": [0, 1], "fixedrange": True, "visible": False}
SHADE = {
    "type": "rect",
    "fillcolor": COLORS[LIMIT],
    "opacity": 0.09,
    "line": {"width": 0},
    "layer": "below",
}
NOTE = {"showarrow": False, "font": {"color": COLORS[LIMIT], "size": 11}}
LEGEND = {
    "orientation": "h",
    "y": 1.02,
    "yanchor": "bottom",
    "x": 0,
    "font": {"size": 11},
}


def points_figure(panel: Scatter) -> Figure:
    """Draw the trials by two metrics."""
    data = []
    for kind, rows in panel.points.items():
        at: dict[str, Any] = {
            "type": "scatter",
            "mode": "markers",
            "name": TOLD[kind],
            "x": panel.column(panel.x, rows),
            "y": panel.column(panel.y, rows),
            "marker": {"color": COLORS[kind], **LOOKS[kind]},
            "customdata": [_hover(row) for row in rows],
            "hovertemplate": "%{customdata}<extra></extra>",
        }
        if rows is panel.labelled:
            at |= {"mode": "markers+text", "text": [str(row["trial"]) for row in rows]}
            at["textposition"] = [
                f"{UP[y]} {RIGHT[x]}" for x, y in panel.label_sides(LETTER, RADIUS, ROOM)
            ]
        if kind == DEFAULT:  # a frame around a point that tells itself
            at = {**at, "hovertemplate": None, "hoverinfo": "skip"}
        data.append(at)
    x = _axis(panel.x, panel.x_range, panel.x_log)
    y = _axis(panel.y, panel.y_range, panel.y_log)
    layout = {**PLAIN, "xaxis": x, "yaxis": y, "legend": _legend(data)}
    if panel.rug:
        data.append(_rug(panel))
        layout["yaxis2"] = BESIDE
    return {"data": data, "layout": {**layout, **_limits(panel)}}


def growth_figure(grown: tuple[list[int], list[float], str]) -> Figure:
    """Draw the hypervolume after each trial."""
    numbers, volumes, _ = grown
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": numbers,
        "y": volumes,
        "line": {"shape": "hv", "color": COLORS[FRONT]},
        "marker": {"size": 5},
        "hovertemplate": "after trial %{x}: %{y:.4g}<extra></extra>",
    }
    axes = {
        "xaxis": {"title": {"text": "trial"}, "tickformat": "d", "zeroline": False},
        "yaxis": {"title": {"text": "hypervolume of the front"}, "zeroline": False},
    }
    return {"data": [line], "layout": {**PLAIN, **axes, "showlegend": False}}


def shares_figure(told: tuple[list[str], dict[str, list[float]]]) -> Figure:
    """Draw the importances: a group a swept value, a bar an objective."""
    names, by_goal = told
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": shown(say(goal)),
            "x": of,
            "y": [shown(name) for name in names],
            "marker": {"color": BARS[at % len(BARS)]},
            "hovertemplate": "%{y}: %{x:.0%}<extra>%{fullData.name}</extra>",
        }
        for at, (goal, of) in reversed(list(enumerate(by_goal.items())))
    ]
    axes = {
        "xaxis": {
            "title": {"text": "share of the variation"},
            "tickformat": ".0%",
            "range": [0, 1],
        },
        "yaxis": {"automargin": True, "type": "category"},
    }
    legend = {**_legend(data), "traceorder": "reversed"}
    return {"data": data, "layout": {**PLAIN, **axes, "legend": legend, "bargap": 0.25}}


def _legend(data: list[dict[str, Any]]) -> dict[str, Any]:
    """Give every entry the same room: two columns of the usual names where a window is narrow."""
    longest = max(len(trace["name"]) for trace in data)
    return {**LEGEND, "entrywidth": max(88, 6 * longest)}


def _axis(name: str, ends: Range, log: bool) -> dict[str, Any]:
    title = {"text": shown(AXES.get(name, name)) + (", logarithmic" if log else "")}
    axis = {"title": title, "range": list(ends), "zeroline": False}
    if log:
        round_values = ticks(ends)
        return axis | {
            "type": "log",
            "range": list(map(math.log10, ends)),
            "tickvals": round_values,  # left to itself Plotly writes 2 for 0.2
            "ticktext": [f"{tick:g}" for tick in round_values],
        }
    if name in ("accuracy", "sparsity"):
        axis["tickformat"] = ".0%" if ends[1] - ends[0] > 0.05 else ".1%"
    return axis


def _rug(panel: Scatter) -> dict[str, Any]:
    """Mark on the x axis the trials that have no y."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": TOLD[UNTRAINED],
        "x": panel.column(panel.x, panel.rug),
        "y": [0.025] * len(panel.rug),
        "yaxis": "y2",
        "marker": {"color": COLORS[UNTRAINED], **LOOKS[UNTRAINED]},
        "customdata": [_hover(row) for row in panel.rug],
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _limits(panel: Scatter) -> dict[str, Any]:
    """Draw the budget's limits, and shade what they exclude."""
    shapes, notes = [], []
    for name, limit in panel.limits.items():
        along, across = ("x", "y") if name == panel.x else ("y", "x")
        low, high = panel.x_range if along == "x" else panel.y_range
        is_log = panel.x_log if along == "x" else panel.y_log
        floor = name == "accuracy"  # the one limit from below
        end = min(low, 0.0) if floor else 10 * high  # beyond the axis, for who zooms out
        whole = {f"{across}ref": "paper", f"{across}0": 0, f"{across}1": 1, f"{along}0": limit}
        line = {"type": "line", f"{along}1": limit, "line": {"color": COLORS[LIMIT], "width": 1.5}}
        shapes += [line | whole, SHADE | whole | {f"{along}1": end}]
        note = {
            "text": f"budget {form(name, limit)}",
            along: math.log10(limit) if is_log else limit,
            across: 1,
            f"{across}ref": "paper",
            "xanchor": "left" if along == "x" else "right",
            "yanchor": "top" if along == "x" or floor else "bottom",
        }
        notes.append(NOTE | note)
    return {"shapes": shapes, "annotations": notes}


def _hover(row: Row) -> str:
    """Tell a trial in the lines of a hover box."""
    lines = ["<b>baseline</b>"]
    if "title" in row:  # whoever made the row says it
        lines = [f"<b>{shown(row['title'])}</b>", *row.get("notes", [])]
    elif "trial" in row:
        job = "from an earlier sweep" if row["job"] is None else f"job {row['job']}"
        lines = [f"<b>trial {row['trial']}</b>, {job}"]
        lines += [f"{name} = {form(name, at)}" for name, at in row["params"].items()]
    lines += [f"{AXES.get(name, name)}: {form(name, at)}" for name, at in row["metrics"].items()]
    return "<br>".join([lines[0], *map(shown, lines[1:])])
