"""The first look at an experiment in MLflow's UI: which columns, which charts.

MLflow keeps a view that is shared as a tag of the experiment, and a link names it. The field names
are those of its page of runs (mlflow 3.17, `viewStateShareKey`); nothing documents them, and a view
that a later page cannot read opens as MLflow's own.
"""

import json
from typing import Any

NAME = "paredown"
TAG = f"mlflow.sharedViewState.{NAME}"

COLUMNS = {
    "metrics": ("accuracy", "size_mb", "speedup", "latency_ms"),
    "params": ("student", "prune.amount", "quantize"),
}
RUN_NAME = "attributes.`Run Name`"
CHARTS = (("size_mb", "accuracy"), ("speedup", "accuracy"))  # x, y of each


def link(server: str, experiment: str) -> str:
    """Give the address of an experiment's view on a server."""
    return f"{server}/#/experiments/{experiment}/runs?viewStateShareKey={NAME}"


def view() -> str:
    """Write the view: jobs by accuracy, which also takes them out from under their sweeps."""
    columns = [f"{kind}.`{name}`" for kind, names in COLUMNS.items() for name in names]
    section = {"uuid": NAME, "name": "Accuracy by size and by speed", "display": True}
    return json.dumps(
        {
            "orderByKey": "metrics.`accuracy`",
            "orderByAsc": False,
            "selectedColumns": columns,
            "columnOrder": [RUN_NAME, *columns],
            "columnWidths": {RUN_NAME: 300},  # pixels
            "runsHiddenMode": "SHOW_ALL",  # not the first ten
            "compareRunSections": [{**section, "isReordered": False, "deleted": False}],
            "compareRunCharts": [_scatter(x, y) for x, y in CHARTS],
        }
    )


def _scatter(x: str, y: str) -> dict[str, Any]:
    return {
        "type": "SCATTER",
        "uuid": f"{y}-{x}",
        "metricSectionId": NAME,
        "runsCountToCompare": 100,
        "deleted": False,
        "isGenerated": False,
        "xaxis": {"key": x, "type": "METRIC"},
        "yaxis": {"key": y, "type": "METRIC"},
    }
