"""The interactive page of a search, drawn by Plotly in the browser."""

from pathlib import Path

from paredown.metric import limited_metrics, metric_of
from paredown.pictures import page
from paredown.pictures.figures import growth_figure, importances_figure, points_figure
from paredown.pictures.page import Block, Facts, Figures, Heading, Table, Text
from paredown.pictures.panels import front_rows, headline, scatters, swept_names
from paredown.pictures.scatter import SearchSummary
from paredown.pictures.words import value_text


def front_page(summary: SearchSummary, file: Path) -> None:
    """Write the page of a search; the same data give the same bytes."""
    page.write(file, page.to_html(headline(summary), front_blocks(summary)))


def front_blocks(summary: SearchSummary) -> list[Block]:
    """Return the page's blocks: the figures, and the front as a table."""
    blocks: list[Block] = [Facts(summary["about"])] if summary.get("about") else []
    panels = {
        f"{panel.y}-{panel.x}": (panel.title, points_figure(panel)) for panel in scatters(summary)
    }
    if panels:
        hint = "Point at a mark to see its trial; drag to zoom in, double click to see everything."
        blocks += [Text(hint), Figures(panels)]
    if any(row["on_front"] for row in summary["trials"]):
        blocks += [Heading("The front"), front_table(summary)]
    search = {"hypervolume": growth_figure(summary), "importances": importances_figure(summary)}
    more = {name: figure for name, figure in search.items() if figure}
    return [*blocks, Heading("The search"), Figures(more)] if more else blocks


def front_table(summary: SearchSummary) -> Table:
    """Lay out the front, one row per trial; the trial with the default values is marked."""
    rows = front_rows(summary)
    names = [*summary["objectives"], *summary["budget"]]
    names += [metric.name for metric in limited_metrics()]
    metrics = [name for name in dict.fromkeys(names) if any(name in row["metrics"] for row in rows)]
    params = swept_names(rows)
    cells = [
        [
            str(row["trial"]),
            *(metric_of(name).cell(row["metrics"]) for name in metrics),
            *(value_text(row["params"].get(name, "")) for name in params),
            "earlier sweep" if row["job"] is None else str(row["job"]),
        ]
        for row in rows
    ]
    texts = [
        name for name in params if any(isinstance(row["params"].get(name), str) for row in rows)
    ]
    trials = [row["trial"] for row in rows]
    marked = trials.index(summary["default"]) if summary["default"] in trials else -1
    return Table(
        ["trial", *(metric_of(name).axis for name in metrics), *params, "job"], cells, texts, marked
    )
