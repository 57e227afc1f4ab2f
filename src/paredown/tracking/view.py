"""The first look at an experiment in MLflow's UI: which runs, which columns, which charts.

MLflow keeps a view that is shared as a tag of the experiment, and a link names it. The field names
are those of its page of runs (mlflow 3.17, `viewStateShareKey`); nothing documents them, and a view
that a later page cannot read opens as MLflow's own.
"""

import json
from typing import Any

from paredown.metric import QUALITY, table_metrics

NAME = "paredown"
TAG = f"mlflow.sharedViewState.{NAME}"

SHOWN = 2  # rank of the last metric that has a column
FINISHED = f"attributes.status = 'FINISHED' and metrics.{QUALITY.name} >= 0"  # jobs, and no sweeps
METRICS = [f"metrics.`{metric.name}`" for metric in table_metrics() if metric.rank <= SHOWN]
COLUMNS = (  # the speed-up beside what it is against: those of two baselines cannot be compared
    *METRICS,
    "tags.`baseline`",
    "params.`dataset`",
    "params.`model`",
    "params.`technique`",
    "params.`student`",
    "params.`prune.amount`",
    "params.`quantize`",
)
RUN_NAME = "attributes.`Run Name`"
WIDTHS = {  # pixels
    RUN_NAME: 230,
    **dict.fromkeys(COLUMNS, 100),
    **dict.fromkeys(METRICS, 85),
    "tags.`baseline`": 140,
    "params.`technique`": 120,
}
SECTION = f"{NAME}-points"
SCATTERS = (("size_mb", QUALITY.name), ("latency_ms", QUALITY.name))  # x, y of each


def link(server: str, experiment: str) -> str:
    """Return the address of an experiment's view on a server."""
    return f"{server}/#/experiments/{experiment}/runs?viewStateShareKey={NAME}"


def view() -> str:
    """Return the view as JSON: finished jobs by accuracy, taken out from under their sweeps."""
    section = {"uuid": SECTION, "name": f"{QUALITY.label.capitalize()} by size and by latency"}
    shown = {"display": True, "isReordered": False, "deleted": False}
    return json.dumps(
        {
            "searchFilter": FINISHED,
            "orderByKey": METRICS[0],
            "orderByAsc": False,
            "selectedColumns": COLUMNS,
            "columnOrder": [RUN_NAME, *COLUMNS],
            "columnWidths": WIDTHS,
            "runsHiddenMode": "SHOW_ALL",  # not the first ten
            "hideEmptyCharts": True,
            "compareRunSections": [section | shown],
            "compareRunCharts": [_scatter(x, y) for x, y in SCATTERS],
        }
    )


def _scatter(x: str, y: str) -> dict[str, Any]:
    return {
        "type": "SCATTER",
        "uuid": f"{y}-{x}",
        "metricSectionId": SECTION,
        "deleted": False,
        "isGenerated": False,
        "runsCountToCompare": 100,
        "xaxis": {"key": x, "type": "METRIC"},
        "yaxis": {"key": y, "type": "METRIC"},
    }
