"""The figures of a report."""

from collections.abc import Mapping, Sequence

from paredown.metric import QUALITY, limited_costs
from paredown.pictures.figures import LEGEND, PLAIN, points_figure
from paredown.pictures.page import Figure, escaped
from paredown.pictures.scatter import Row, Scatter, SearchSummary
from paredown.pictures.words import BASELINE, FAST, SERIES, SLOW
from paredown.report.measured import OBJECTIVES, Measured, best, not_faster, spans
from paredown.report.widths import Widths


def front_figures(several: Sequence[Measured], prefix: str) -> dict[str, tuple[str, Figure]]:
    """Draw all variants of one setting, the front labelled with its numbers in the table."""
    return _against(several, prefix, [metric.name for metric in reversed(limited_costs())])


def _against(
    several: Sequence[Measured], prefix: str, costs: Sequence[str]
) -> dict[str, tuple[str, Figure]]:
    """Draw quality against costs, one figure each."""
    figures = {}
    for x in costs:
        panel = Scatter(x, QUALITY.name, _summary(several))
        if panel.points:
            count = len(panel.below)
            few = f"; {count} far less accurate, at the lower edge" if count else ""
            figures[f"{prefix}-{x}"] = (panel.title + few, points_figure(panel))
    return figures


def more_figures(several: Sequence[Measured], prefix: str) -> dict[str, tuple[str, Figure]]:
    """Draw quality against sparsity, and latency against MACs."""
    figures = _against(several, prefix, ("sparsity",))
    panel = Scatter("macs", "latency_ms", _by_speed(_summary(several), several))
    if panel.points:
        caption = "latency against MACs: fewer MACs, but not faster, is crossed"
        figures[f"{prefix}-macs"] = (caption, points_figure(panel))
    return figures


def layers_figure(
    table: Widths, columns: Mapping[str, Sequence[float]], axis: str, unit: str
) -> Figure:
    """Draw a number per layer, one line per version of the network."""
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": escaped(version),
            "x": [escaped(name) for name in table.layers],
            "y": list(values),
            "line": {
                "shape": "hvh",
                "width": 3 if index == 0 else 1.5,
                "color": "#8b929c" if index == 0 else SERIES[(index - 1) % len(SERIES)],
            },
            "hovertemplate": f"%{{x}}: %{{y}} {unit}<extra>%{{fullData.name}}</extra>",
        }
        for index, (version, values) in enumerate(columns.items())
    ]
    layout = {
        **PLAIN,
        "xaxis": {"title": {"text": "layer, in the order of the network"}, "type": "category",
                  "showticklabels": False, "showgrid": False},
        "yaxis": {"title": {"text": axis}, "rangemode": "tozero"},
        "legend": LEGEND,
    }  # fmt: skip
    return {"data": data, "layout": layout}


def _summary(several: Sequence[Measured]) -> SearchSummary:
    """Return variants in the form of a search; a variant's number is its place in the table."""
    on_front = set(best(several))
    rows = [
        {
            "trial": index + 1,
            "title": variant_title(one, index),
            "metrics": one.metrics,
            "misses": {},
            "on_front": index in on_front,
        }
        for index, one in enumerate(several)
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


def _by_speed(summary: SearchSummary, several: Sequence[Measured]) -> SearchSummary:
    """Return a summary whose trials are of two kinds: as fast as their MACs promise, or not."""
    slow = not_faster(several)
    rows: list[Row] = []
    for index, row in enumerate(summary["trials"]):
        if index in slow:
            other = variant_title(several[slow[index]], slow[index])
            rows.append({**row, "kind": SLOW, "notes": [f"not faster than {other}"]})
        else:
            rows.append({**row, "kind": FAST})
    return {**summary, "trials": rows}


def variant_title(one: Measured, index: int) -> str:
    """Return the title of a variant: its number in the table, its stage, its runs."""
    runs = "runs" if one.runs[1:] else "run"
    return f"variant {index + 1}: {one.title} of {runs} {spans(one.runs)}"
