"""The interactive page of a search, drawn by Plotly in the browser."""

from pathlib import Path

from paredown.metric import MAXIMIZE, METRICS, metric_of
from paredown.pictures import page
from paredown.pictures.figures import growth_figure, points_figure, shares_figure
from paredown.pictures.panels import growth, headline, scatters, shares
from paredown.pictures.scatter import Found
from paredown.pictures.words import value_text


def front_page(found: Found, file: Path) -> None:
    """Write what a search found as a page; the same data give the same bytes.

    Args:
        found: What front.json holds.
        file: To write.
    """
    page.write(file, page.page(headline(found), front_parts(found)))


def front_parts(found: Found) -> list[str]:
    """Give the page's parts: the figures, and the front as a table."""
    drawn: dict[str, tuple[str, page.Figure]] = {}
    more: dict[str, tuple[str, page.Figure]] = {}
    for panel in scatters(found):
        caption = f"{metric_of(panel.y).label} against {metric_of(panel.x).label}"
        drawn[f"{panel.y}-{panel.x}"] = (caption, points_figure(panel))
    if grown := growth(found):
        more["hypervolume"] = (f"hypervolume by trial: {grown[2]}", growth_figure(grown))
    if of := shares(found):
        more["importances"] = ("how much each swept value decides", shares_figure(of))
    hint = "Point at a mark to see its trial; drag to zoom in, double click to see everything."
    told = [page.paragraph(hint), page.figures(drawn)] if drawn else []
    about = [page.facts(found["about"])] if found.get("about") else []
    rest = [page.heading("The search"), page.figures(more)] if more else []
    return [*about, *told, *_front_table(found), *rest]


def _front_table(found: Found) -> list[str]:
    """Lay out the front, the first objective's best first."""
    rows = [row for row in found["trials"] if row["on_front"]]
    if not rows:
        return []
    wanted = [
        *found["objectives"],
        *found["budget"],
        *(metric.name for metric in METRICS if metric.limited),
    ]
    metrics = [
        name for name in dict.fromkeys(wanted) if any(name in row["metrics"] for row in rows)
    ]
    first, way = next(iter(found["objectives"].items()))
    rows.sort(key=lambda row: float(row["metrics"][first]), reverse=way == MAXIMIZE)
    params = list(dict.fromkeys(name for row in rows for name in row["params"]))
    head = ["trial", *(metric_of(name).axis for name in metrics), *params, "job"]
    lines = [
        [
            str(row["trial"]),
            *(metric_of(name).cell(row["metrics"]) for name in metrics),
            *(value_text(row["params"].get(name, "")) for name in params),
            "earlier sweep" if row["job"] is None else str(row["job"]),
        ]
        for row in rows
    ]
    marked = next((at for at, row in enumerate(rows) if row["trial"] == found["default"]), -1)
    texts = {name for row in rows for name, at in row["params"].items() if isinstance(at, str)}
    numbers = [name for name in head if name not in texts]
    return [page.heading("The front"), page.table(head, lines, numbers, marked)]
