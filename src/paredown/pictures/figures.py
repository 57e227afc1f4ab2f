"""The panels of a search as Plotly's figures."""

import math
from collections import Counter
from typing import Any

from paredown.metric import MAXIMIZE, metric_of
from paredown.pictures import words
from paredown.pictures.hover import hover
from paredown.pictures.page import Figure, escaped
from paredown.pictures.scale import Range, ticks
from paredown.pictures.scatter import Row, Scatter, SearchSummary

ROOM, LETTER, RADIUS = (270.0, 270.0), 12, 6  # px of a panel in a narrow window
LOOKS: dict[str, dict[str, Any]] = {
    words.DOMINATED: {"symbol": "circle", "size": 7},
    words.MISSED: {"symbol": "circle-open", "size": 7},
    words.FRONT: {"symbol": "circle", "size": 11},
    words.NEAREST: {"symbol": "circle", "size": 11},
    words.DEFAULT: {"symbol": "square-open", "size": 17, "line": {"width": 2}},
    words.BASELINE: {"symbol": "star", "size": 15},
    words.FAST: {"symbol": "circle", "size": 8},
    words.SLOW: {"symbol": "x", "size": 9},
    words.UNTRAINED: {"symbol": "line-ns-open", "size": 9, "line": {"width": 1.5}},
    words.BELOW: {"symbol": "triangle-down", "size": 10},
}
PLAIN = {"margin": {"l": 64, "r": 16, "t": 12, "b": 48}, "hovermode": "closest"}
UP, RIGHT = {1: "top", 0: "middle", -1: "bottom"}, {1: "right", 0: "center", -1: "left"}
BESIDE = {"overlaying": "y", "range": [0, 1], "fixedrange": True, "visible": False}
RED = words.COLORS[words.LIMIT]
SHADE = {
    "type": "rect", "fillcolor": RED, "opacity": 0.09, "line": {"width": 0}, "layer": "below"
}  # fmt: skip
LINE = {"type": "line", "line": {"color": RED, "width": 1.5}}
NOTE = {"showarrow": False, "font": {"color": RED, "size": 11}}
FAINT = "rgba(47, 126, 216, 0.55)"  # the front's color
LEGEND = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 11}}


def points_figure(panel: Scatter) -> Figure:
    """Draw the trials by two metrics."""
    data = []
    for kind, rows in panel.points.items():
        trace = _markers(kind, rows, panel.column(panel.x, rows), panel.column(panel.y, rows))
        if rows is panel.labelled:
            trace |= _labels(panel, rows) | _intervals(panel, rows)
        if kind == words.DEFAULT:  # a frame around a point that has a hover box itself
            trace |= {"hovertemplate": None, "hoverinfo": "skip"}
        data.append(trace)
    x = _axis(panel.x, panel.x_range, panel.x_log)
    y = _axis(panel.y, panel.y_range, panel.y_log)
    layout = {**PLAIN, "xaxis": x, "yaxis": y, "legend": _legend(data)}
    for kind, rows, height in (
        (words.UNTRAINED, panel.rug, 0.025),
        (words.BELOW, panel.below, 0.03),
    ):
        if rows:  # marks along the x axis
            heights = [height] * len(rows)
            trace = _markers(kind, rows, panel.column(panel.x, rows), heights)
            data.append({**trace, "yaxis": "y2"})
            layout["yaxis2"] = BESIDE
    return {"data": data, "layout": {**layout, **_limits(panel)}}


def _markers(kind: str, rows: list[Row], x: list[float], y: list[float]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": words.LABELS[kind],
        "x": x,
        "y": y,
        "marker": {"color": words.COLORS[kind], **LOOKS[kind]},
        "customdata": [hover(row) for row in rows],
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _labels(panel: Scatter, rows: list[Row]) -> dict[str, Any]:
    """Write the trial's number beside each point."""
    sides = panel.label_sides(LETTER, RADIUS, ROOM)
    return {
        "mode": "markers+text",
        "text": [str(row["trial"]) if side else "" for row, side in zip(rows, sides, strict=True)],
        "textposition": [
            f"{UP[side[1]]} {RIGHT[side[0]]}" if side else "middle center" for side in sides
        ],
    }


def growth_figure(summary: SearchSummary) -> tuple[str, Figure] | None:
    """Draw the hypervolume after each trial, with a caption; None if it is 0 or of one trial."""
    volumes = list(summary["hypervolume"] or [])
    if len(volumes) < 2 or not volumes[-1] > 0:
        return None
    numbers = [row["trial"] for row in summary["trials"]]
    grew = [index for index in range(1, len(volumes)) if volumes[index] > volumes[index - 1]]
    last = numbers[grew[-1] if grew else 0]
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": numbers,
        "y": volumes,
        "line": {"shape": "hv", "color": words.COLORS[words.FRONT]},
        "marker": {"size": 5},
        "hovertemplate": "after trial %{x}: %{y:.4g}<extra></extra>",
    }
    axes = {
        "xaxis": {"title": {"text": "trial"}, "tickformat": "d", "zeroline": False},
        "yaxis": {"title": {"text": "hypervolume of the front"}, "zeroline": False},
    }
    caption = f"hypervolume by trial: the front last grew at trial {last} of {numbers[-1]}"
    return caption, {"data": [line], "layout": {**PLAIN, **axes, "showlegend": False}}


def importances_figure(summary: SearchSummary) -> tuple[str, Figure] | None:
    """Draw the share of the variation that each swept name decides, one bar per objective."""
    by_objective: dict[str, dict[str, float]] = summary["importances"]
    weights: Counter[str] = Counter()
    for shares in by_objective.values():
        weights.update(shares)
    if not weights:
        return None
    names = sorted(weights, key=lambda name: (weights[name], name))  # the most important on top
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": escaped(metric_of(objective).label),
            "x": [shares.get(name, 0.0) for name in names],
            "y": [escaped(name) for name in names],
            "marker": {"color": words.BARS[index % len(words.BARS)]},
            "hovertemplate": "%{y}: %{x:.0%}<extra>%{fullData.name}</extra>",
        }
        for index, (objective, shares) in reversed(list(enumerate(by_objective.items())))
    ]
    share = {"title": {"text": "share of the variation"}, "tickformat": ".0%", "range": [0, 1]}
    axes = {"xaxis": share, "yaxis": {"automargin": True, "type": "category"}}
    legend = {**_legend(data), "traceorder": "reversed"}
    layout = {**PLAIN, **axes, "legend": legend, "bargap": 0.25}
    return "how much each swept value decides", {"data": data, "layout": layout}


def _legend(data: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a legend of equally wide entries: two usual names side by side in a narrow window."""
    longest = max(len(trace["name"]) for trace in data)
    return {**LEGEND, "entrywidth": max(88, 6 * longest)}


def _axis(name: str, ends: Range, log: bool) -> dict[str, Any]:
    title = {"text": escaped(metric_of(name).axis) + (", logarithmic" if log else "")}
    axis = {"title": title, "range": list(ends), "zeroline": False}
    if log:
        round_values = ticks(ends)
        return axis | {
            "type": "log",
            "range": list(map(math.log10, ends)),
            "tickvals": round_values,  # left to itself Plotly writes 2 for 0.2
            "ticktext": [f"{tick:g}" for tick in round_values],
        }
    if metric_of(name).is_share:
        axis["tickformat"] = ".0%" if ends[1] - ends[0] > 0.05 else ".1%"
    return axis


def _intervals(panel: Scatter, rows: list[Row]) -> dict[str, Any]:
    """Draw the 95 % intervals of the labelled points along each axis whose metric has them."""
    bars: dict[str, Any] = {}
    for axis, name in (("error_x", panel.x), ("error_y", panel.y)):
        intervals = [interval for row in rows if (interval := panel.interval(name, row))]
        if len(intervals) < len(rows):
            continue
        middles = panel.column(name, rows)
        bars[axis] = {
            "type": "data",
            "symmetric": False,
            "array": [high - middle for (_, high), middle in zip(intervals, middles, strict=True)],
            "arrayminus": [
                middle - low for (low, _), middle in zip(intervals, middles, strict=True)
            ],
            "thickness": 1,
            "width": 0,
            "color": FAINT,
        }
    return bars


def _limits(panel: Scatter) -> dict[str, Any]:
    """Draw the budget's limits, and shade what they exclude."""
    shapes, notes = [], []
    for name, limit in panel.limits.items():
        along, across = ("x", "y") if name == panel.x else ("y", "x")
        low, high = panel.x_range if along == "x" else panel.y_range
        is_log = panel.x_log if along == "x" else panel.y_log
        floor = metric_of(name).direction == MAXIMIZE  # the one limit from below
        end = min(low, 0.0) if floor else 10 * high  # beyond the axis, for who zooms out
        line_ends = {f"{across}ref": "paper", f"{across}0": 0, f"{across}1": 1, f"{along}0": limit}
        line = {
            "type": "line",
            f"{along}1": limit,
            "line": {"color": words.COLORS[words.LIMIT], "width": 1.5},
        }
        shapes += [line | line_ends, SHADE | line_ends | {f"{along}1": end}]
        note = {
            "text": f"budget {metric_of(name).write(limit)}",
            along: math.log10(limit) if is_log else limit,
            across: 1,
            f"{across}ref": "paper",
            "xanchor": "left" if along == "x" else "right",
            "yanchor": "top" if along == "x" or floor else "bottom",
        }
        notes.append(NOTE | note)
    return {"shapes": shapes, "annotations": notes}
