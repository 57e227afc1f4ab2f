"""A metric is data: tables, pictures, search and MLflow's view read one list of them."""

import subprocess
import sys

import pytest

from paredown.metric import MAXIMIZE, METRICS, MINIMIZE, metric_of

ROW = {
    "accuracy": 0.975,
    "accuracy_low": 0.96,
    "accuracy_high": 0.985,
    "latency_ms": 0.25,
    "latency_ms_p95": 0.375,
    "macs": 2_500_000,
    "sparsity": 0.5,
}


@pytest.mark.parametrize(
    ("name", "cell", "alone"),
    [
        ("accuracy", "97.50% [96.0%, 98.5%]", "97.50%"),
        ("latency_ms", "0.250 (0.375)", "0.250"),
        ("macs", "2.50", "2.50"),
        ("sparsity", "50.0%", "50.0%"),
        ("size_mb", "", ""),
    ],
)
def test_a_cell_carries_what_was_measured(name: str, cell: str, alone: str) -> None:
    assert metric_of(name).cell(ROW) == cell
    assert metric_of(name).cell(ROW, alone=True) == alone


def test_a_shortfall_counts_in_the_direction_of_its_metric() -> None:
    assert metric_of("accuracy").shortfall(0.95, limit=0.97) == pytest.approx(0.02)
    assert metric_of("size_mb").shortfall(1.5, limit=1) == pytest.approx(0.5)
    assert metric_of("accuracy").write_difference(0.021) == "2.10 points"
    assert metric_of("size_mb").write_difference(0.5) == "0.500 MB"


def test_names_are_distinct_and_directions_known() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert {metric.direction for metric in METRICS} == {MAXIMIZE, MINIMIZE}
    assert all(metric.beside in ("", "latency_ms_p95") for metric in METRICS)


def test_a_metric_of_somebody_else_is_written_plainly() -> None:
    assert metric_of("watts").write(1234.5) == "1234"
    assert metric_of("watts").axis == "watts"


FAKE = """
import paredown.metric as metrics
metrics.METRICS += (metrics.Metric("energy_mj", "energy", "mJ", "mJ", form=".1f", limited=True),)

import json
from rich.console import Console
from paredown.budget import Budget
from paredown.pick.candidates import gather
from paredown.pick.card import _metric_rows
from paredown.pick.table import walk_table
from paredown.pick.walk import walk
from paredown.pictures.interactive import front_table
from paredown.report.content import content
from paredown.report.document import to_markdown
from paredown.report.jobs import jobs_table
from paredown.tracking.reader import Logged
from paredown.report.measured import OBJECTIVES
from paredown.report.tables import markdown, path_table
from paredown.pick.candidates import FIGURES
from paredown.pictures.hover import hover
from paredown.tracking.view import view
from hydra_plugins.paredown_sweeper._config import ParetoConf
from hydra_plugins.paredown_sweeper._search import check

row = {"stage": "prune", "accuracy": 0.5, "energy_mj": 12.34}
job = {"number": 0, "overrides": [], "status": "FINISHED", "rows": [row]}
Console(width=200).print(path_table("run", [row], {}), jobs_table("sweep", [job]))
print(markdown([row]))
print(hover({"trial": 1, "job": 1, "metrics": row}))
print(OBJECTIVES["energy_mj"], "energy_mj" in FIGURES, "metrics.`energy_mj`" in view())
check(ParetoConf(n_jobs=1, objectives={"energy_mj": "minimize"}))

figures = {"accuracy_low": 0.4, "accuracy_high": 0.6, "size_mb": 1.0, "latency_ms": 2.0, **row}
metrics = {f"prune/{name}": value for name, value in figures.items() if name != "stage"}
tags = {"prune/sha256": "0", "prune/file": "f"}
run = Logged("id", "run", 0, None, ("prune",), {}, metrics, tags)
candidates = gather([run], "cpu").candidates
budget = Budget(0.1, None, None)
Console(width=200).print(walk_table(candidates, walk([candidates[0].figures], budget), budget))
print("card", [row for row in _metric_rows(candidates[0]) if row[0] == "energy, mJ"])
report = to_markdown("report", content([run], {}))
print("report", report.count("12.3"), "accuracy, size, latency and energy" in report)
trial = {"trial": 0, "job": 0, "params": {}, "metrics": figures, "on_front": True}
summary = {"trials": [trial], "objectives": {"accuracy": "maximize"}, "budget": {}, "default": None}
print("front", front_table(summary).rows[0])
"""


def test_a_new_metric_is_one_entry() -> None:
    done = subprocess.run([sys.executable, "-c", FAKE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = done.stdout
    assert text.count("12.3 │") == 3, text  # the run's table, the sweep's and the walk's
    assert "| prune | 50.00% | 12.3 |" in text
    assert "<br>12.3 mJ" in text
    assert "minimize True True" in text
    assert "card [['energy, mJ', '12.3', '12.3']]" in text
    assert "report 2 True" in text  # the front's table and the run's path
    assert "'12.3'" in text.partition("front [")[2]
