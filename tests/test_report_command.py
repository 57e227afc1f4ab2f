"""The command report.py, on runs of the command run.py, and its page in a real browser."""

import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from statistics import median

import pytest
from command import ROOT, run_here

SMALL = (
    "model=cnn4", "model.width=16", "model@student=cnn4", "student.width=16", "training.epochs=1",
    "prune.epochs=1", "measure.processes=1", "measure.rounds=1", "measure.eager=false",
)  # fmt: skip


def report(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_here(folder, *arguments, verb="report")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two jobs of a sweep, and one run by itself with two threads, which is another setting."""
    folder = tmp_path_factory.mktemp("ran")
    store = f"store.folder={folder / 'store'}"
    jobs = ("-m", "prune.amount=0.2,0.6", "hydra.sweep.dir=multirun/one")
    for arguments in (jobs, ("runtime.threads=2", "technique=prune", "prune.amount=0.2")):
        done = run_here(folder, *arguments, *SMALL, store)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def reported(ran: Path) -> Path:
    before = {path.name for path in ran.iterdir()}
    command = [sys.executable, str(ROOT / "report.py")]
    done = subprocess.run(command, cwd=ran, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "3 runs of experiment paredown:\npage:     report/report.html\nmarkdown: report/report.md\n"
    )
    assert {path.name for path in ran.iterdir()} - before == {"report"}
    assert sorted(path.name for path in (ran / "report").iterdir()) == ["report.html", "report.md"]
    return ran / "report"


def logged(folder: Path) -> list:
    """The jobs' runs, the oldest first, straight from MLflow."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("paredown")
    found = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
    return [run for run in found if "stages" in run.data.tags]


def section(text: str, heading: str) -> list[list[str]]:
    """Read the cells of the first table below a heading of the Markdown."""
    below = text.split(f"{heading}\n", 1)[1].strip().splitlines()
    start = next(at for at, line in enumerate(below) if line.startswith("|"))
    rows = []
    for line in below[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows[2:]


def test_markdown_tells_every_stage_of_every_run(ran: Path, reported: Path) -> None:
    text = (reported / "report.md").read_text()
    rows = section(text, "## The path of each run")
    runs = logged(ran)
    stages = [(run, stage) for run in runs for stage in run.data.tags["stages"].split(",")]
    assert len(rows) == len(stages) == 4 + 4 + 2
    for row, (run, stage) in zip(rows, stages, strict=True):
        of = run.data.metrics
        assert row[2] == stage
        assert row[3].startswith(f"{of[f'{stage}/accuracy']:.2%} ")
        assert row[4] == f"{of[f'{stage}/size_mb']:.3f}"
        assert row[7] == f"{of[f'{stage}/params']:,.0f}"
    names = [row[1].replace("\\", "") for row in rows]
    assert names == [run.info.run_name for run, _ in stages]
    assert [row[0] for row in rows] == [str(1 + runs.index(run)) for run, _ in stages]


def test_each_setting_has_a_front_of_its_own(reported: Path) -> None:
    text = (reported / "report.md").read_text()
    for setting in ("onnxruntime, 1 threads", "onnxruntime, 2 threads"):
        rows = section(text, f"## The front: digits, {setting}")
        assert rows
        accuracies = [-float(row[2].partition("%")[0]) for row in rows]
        assert accuracies == sorted(accuracies)
        assert all("cnn4" in row[-1] for row in rows)  # the name of a run that made it
        runs = {run for row in rows for run in row[-2].split(", ")}
        assert runs <= ({"3"} if "2 threads" in setting else {"1", "2", "1-2"})


def test_the_report_begins_with_what_when_where_and_which_command(reported: Path) -> None:
    text = (reported / "report.md").read_text()
    facts = dict(
        line.removeprefix("- ").split(": ", 1) for line in text.splitlines() if line[:2] == "- "
    )
    assert facts["data"] == "digits"
    assert facts["networks"] == "cnn4 into cnn4; cnn4"
    assert facts["runtime"] == "onnxruntime, 1 threads; onnxruntime, 2 threads"
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d to .*\d\d:\d\d UTC", facts["measured"])
    assert facts["made by"] == "`python report.py`"
    assert facts["next"].startswith("`python pick.py budget.size_mb=")
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert len(set(headings)) == len(headings)
    assert text.index("- next") < text.index("## The front: digits") < text.index("## The path")


def test_widths_are_those_of_the_layers(reported: Path) -> None:
    rows = section((reported / "report.md").read_text(), "## The widths of the layers")
    before, small, large = (
        [int(row[at].partition(" ")[0]) for row in rows[:-1]] for at in (1, 2, 3)
    )
    shares = [float(row[2].partition("(")[2].removesuffix("%)")) for row in rows[:-1]]
    assert sum(shares) == pytest.approx(100, abs=0.3)
    assert before == [16, 32, 64, 128, 10]
    assert small == [16, 32, 48, 96, 10]  # 0.8 of each, in multiples of 16
    assert large == [16, 16, 32, 48, 10]
    assert rows[-1][0] == "MMACs"
    assert float(rows[-1][1]) > float(rows[-1][2]) > float(rows[-1][3])


def test_the_commands_are_those_that_were_typed(ran: Path, reported: Path) -> None:
    text = (reported / "report.md").read_text()
    shell = text.split("```sh\n")[1].split("```")[0].splitlines()
    assert shell[1::2] == [run.data.tags["command"] for run in logged(ran)]
    assert "prune.amount=0.6" in shell[3]


def figures(text: str) -> dict[str, dict]:
    found = re.findall(r'class="figure" data-into="([^"]+)">(.*?)</script>', text, re.DOTALL)
    return {name: json.loads(data) for name, data in found}


def test_the_page_draws_what_is_folded_once_it_is_opened(
    reported: Path, browse: Callable[..., str]
) -> None:
    page = reported / "report.html"
    assert page.read_text().count("<details>") == 2 + 3  # of two settings, and of all runs
    assert Drawn(browse(page)).plots >= 2 + 2
    assert "plot js-plotly-plot" not in browse(page).partition("<details>")[2].partition("<h2>")[0]


def test_points_with_fewer_macs_that_are_not_faster_are_crossed(ran: Path, reported: Path) -> None:
    drawn = figures((reported / "report.html").read_text())
    for at, threads in enumerate((1, 2)):
        files: dict[str, list[dict[str, float]]] = defaultdict(list)
        for run in logged(ran):
            if f"{threads} threads" in run.data.tags["runtime"]:
                for stage in run.data.tags["stages"].split(","):
                    names = ("macs", "latency_ms", "speedup")
                    metrics = {name: run.data.metrics[f"{stage}/{name}"] for name in names}
                    files[run.data.tags[f"{stage}/sha256"]].append(metrics)
        medians = [
            {name: median(of[name] for of in all_) for name in all_[0]} for all_ in files.values()
        ]
        crossed = {  # one process each, so there are no intervals; one baseline each
            (one["macs"] / 1e6, one["latency_ms"])
            for one in medians
            if any(
                other["macs"] > one["macs"]
                and other["latency_ms"] <= one["latency_ms"]
                and other["speedup"] >= one["speedup"]
                for other in medians
            )
        }
        traces = drawn[f"setting{at}-macs"]["data"]
        points = {t["name"]: set(zip(t["x"], t["y"], strict=True)) for t in traces}
        assert points.get("fewer MACs, not faster", set()) == crossed
        shown = len(points.get("as its MACs promise", [])) + len(crossed)
        assert shown == len(files)


def test_a_sweep_is_found_by_folder_id_and_name(ran: Path) -> None:
    pages = []
    parent = logged(ran)[0].data.tags["mlflow.parentRunId"]
    for asked in ("multirun/one", str(ran / "multirun/one"), parent, "prune.amount=0.2,0.6"):
        done = report(ran, f"report.sweep='{asked}'", "report.folder=of/sweep")
        assert done.returncode == 0, done.stderr
        pages.append((ran / "of/sweep/report.md").read_text())
        assert pages[-1].startswith("# 2 runs of sweep prune.amount=0.2,0.6\n")
    assert len(set(pages)) == 1
    assert "2 threads" not in pages[0]


BAD = {
    "report.sweep=nope": "report.sweep must be one of 1 (prune.amount=0.2,0.6, ",
    "report.folder=''": "report.folder must be a path",
    "report.swep=x": "report.swep is not a key of the configuration; did you mean report.sweep?",
    "+report.swep=x": "did you mean sweep?",
    "+other=1": "a key of the configuration must be one of report, tracking, got 'other'",
    "tracking.experiment=nope": "tracking.experiment must be one of",
    "tracking.uri=sqlite:///none.db": "tracking.uri must name a store that is there",
    "tracking.uri=sqlite:///report.md": "tracking.uri must name a store that is there",
    "tracking=nope": "tracking must be a node with a _target_, got 'nope'",
    "report.folder=/proc/version/x": "/proc/version/x: Not a directory",
    "-m": "takes no -m",
}


@pytest.mark.parametrize(("argument", "message"), BAD.items(), ids=BAD)
def test_bad_input_gets_one_line_and_makes_nothing(
    ran: Path, tmp_path: Path, argument: str, message: str
) -> None:
    (tmp_path / "report.md").write_text("this is no database\n" * 100)
    if "tracking" not in argument or "experiment" in argument:
        (tmp_path / "mlruns").symlink_to(ran / "mlruns")
    before = sorted(tmp_path.iterdir())
    done = report(tmp_path, argument)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert sorted(tmp_path.iterdir()) == before


def test_an_experiment_where_nothing_finished_is_told_in_one_line(
    ran: Path, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{ran}/mlruns/mlflow.db")
    client.create_experiment("empty")
    (tmp_path / "mlruns").symlink_to(ran / "mlruns")
    done = report(tmp_path, "tracking.experiment=empty")
    assert done.returncode == 2
    told = "tracking.experiment must hold a finished run, got 'empty', which holds none yet"
    assert done.stderr == f"error: {told}\n"
    assert [experiment.name for experiment in client.search_experiments()] == [
        "empty",
        "paredown",
        "Default",
    ]


class Drawn(HTMLParser):
    """Counts what Plotly drew."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.plots = self.marks = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        kind = dict(attributes).get("class") or ""
        self.plots += tag == "svg" and kind == "main-svg"
        self.marks += tag == "path" and "point" in kind.split()


@pytest.mark.parametrize(("width", "theme"), [(400, "dark"), (1600, "light")])
def test_a_browser_draws_every_point_and_nothing_runs_over_the_edge(
    reported: Path, tmp_path: Path, browse: Callable[..., str], width: int, theme: str
) -> None:
    dark = ["--force-dark-mode"] if theme == "dark" else []
    opened = tmp_path / "opened.html"  # as after a click on every line that opens something
    opened.write_text((reported / "report.html").read_text().replace("<details>", "<details open>"))
    shown = browse(opened, *dark)
    drawn = Drawn(shown)
    traces = [t for figure in figures(shown).values() for t in figure["data"]]
    assert len(figures(shown)) == 4 + 4 + 2
    assert drawn.plots >= 10
    assert drawn.marks >= sum(len(t["x"]) for t in traces if t["mode"] != "lines")
    ink = "rgb(228, 231, 236)" if dark else "rgb(31, 36, 48)"
    assert f"fill: {ink}" in shown
    frame = tmp_path / "frame.html"  # a window is at least 500 px wide, a frame is not
    frame.write_text(
        f"<iframe id='f' src='{opened.as_uri()}' width='{width}'></iframe>"
        "<script>onload = () => setTimeout(() => document.title = 'wide ' + "
        "f.contentDocument.documentElement.scrollWidth, 500)</script>"
    )
    told = re.search(r"<title>wide (\d+)</title>", browse(frame, f"--window-size={width + 50},900"))
    assert told is not None
    assert int(told.group(1)) <= width
