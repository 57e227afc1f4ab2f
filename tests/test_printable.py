"""Names, settings and tags of others, as they are shown: on pages, in a card, in a terminal."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from hydra_plugins.paredown_sweeper._report import front_table
from paredown.budget import Budget
from paredown.dataset import Dataset
from paredown.errors import ConfigError
from paredown.measure.latency import Timing
from paredown.pick.candidates import gather
from paredown.pick.card import write_card
from paredown.pick.table import walk_table
from paredown.pick.test_result import TestResult
from paredown.pick.walk import walk
from paredown.pictures import front_page, page
from paredown.printable import in_markdown, one_line, printable
from paredown.report import jobs_table, markdown, path_table, show
from paredown.report.content import content
from paredown.report.document import to_markdown
from paredown.runtime.onnxruntime import OnnxRuntime
from paredown.tracking.reader import Logged
from paredown.tracking.restore import Parts
from paredown.trust import require_allowed

EVIL = "<script>alert(1)</script>|`x`*\n\n# <b>up</b>\n\x1b[31mred\x9b2J\u202e\ud800\\|end"
"""What a name may hold that a browser, Markdown or a terminal would obey."""
OBEYED = re.compile("[\x1b\x9b\u202e\ud800]")
METRICS = {
    "accuracy": 0.9, "accuracy_low": 0.8, "accuracy_high": 0.95, "size_mb": 0.1, "latency_ms": 0.1,
    "latency_ms_p95": 0.1, "speedup": 1.0, "params": 1.0, "macs": 1e6, "sparsity": 0.0,
}  # fmt: skip
TAGS = ("dataset", "runtime", "cpu", "command", "made_by", "int8_instructions",
        "mlflow.source.git.commit")  # fmt: skip


def evil(field: str) -> str:
    """Write what is evil behind the name of the field that it stands in."""
    return f"{field}{EVIL}"


@pytest.fixture
def logged() -> Logged:
    """A run of which everything that is text is evil."""
    stages = ("baseline", evil("stage"))
    files = {f"{stage}/{name}": f"{name}{stage}" for stage in stages for name in ("file", "sha256")}
    notes = {f"{stage}/note": evil("extra") for stage in stages}
    metrics = {f"{stage}/{name}": value for stage in stages for name, value in METRICS.items()}
    metrics[f"{stages[1]}/size_mb"] = 0.05
    tags = {name: evil(name) for name in TAGS} | files | notes
    return Logged("id", evil("run"), 0, None, stages, {evil("key"): evil("value")}, metrics, tags)


class Page(HTMLParser):
    """Elements of a page, its text outside of scripts, and its figures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.figures: list[str] = []
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._within = (dict(attrs).get("class") or "code") if tag == "script" else ""

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within == "figure":
            self.figures.append(json.dumps(json.loads(data), ensure_ascii=False))
        elif not self._within:
            self.text += data


def check_page(text: str, *fields: str) -> None:
    """See that no element is of others, in figures neither, and that every field is shown."""
    found = Page(text)
    assert "b" not in found.tags
    assert found.tags.count("script") == 2 + len(found.figures)  # Plotly's and ours
    assert found.figures
    assert not any("<script>" in figure for figure in found.figures)
    assert not OBEYED.search(found.text)
    for field in fields:
        assert f"{field}<script>alert(1)</script>" in found.text


def check_markdown(text: str, *fields: str) -> None:
    """See no raw HTML, no heading of others and no broken table, blocks of code aside."""
    assert not OBEYED.search(text)
    plain = re.sub(r"^(`{3,})sh\n.*?\n\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line for line in plain.splitlines() if not line.startswith("    ")]
    bare = [re.sub(r"\\[^\w\s]", "", line) for line in lines]  # escaped signs are none
    assert "<" not in "".join(bare)
    assert not any(line.startswith("# ") for line in bare[1:])
    columns = 0
    for line in bare:
        count = line.count("|") if line.startswith("|") else 0
        assert not (columns and count) or count == columns
        columns = count
    for field in fields:
        assert re.search(rf"{field}\\?<script", text), field


def check_terminal(table: object, *fields: str) -> None:
    console = Console(file=StringIO(), width=4000, markup=False, emoji=False)
    console.print(table, highlight=False)
    assert isinstance(console.file, StringIO)
    text = console.file.getvalue()
    assert not OBEYED.search(text)
    for field in fields:
        assert f"{field}<script>" in text


def test_a_report_shows_every_name_and_runs_none(logged: Logged, tmp_path: Path) -> None:
    layers = {evil("layer"): {"channels": 4, "macs": 10}}
    fewer = {evil("layer"): {"channels": 2, "macs": 5}}
    blocks = content([logged], {1: {"baseline": layers, evil("stage"): fewer}})
    page.write(tmp_path / "report.html", page.to_html(evil("title"), blocks))
    page.write(tmp_path / "report.md", to_markdown(evil("title"), blocks))
    fields = ("title", "run", "stage", "cpu", "dataset", "runtime", "command", "layer")
    check_page((tmp_path / "report.html").read_text(), *fields)
    check_markdown((tmp_path / "report.md").read_text(), *fields)


def test_the_page_of_a_search_shows_every_name_and_runs_none(tmp_path: Path) -> None:
    name = evil("metric")
    rows: list[dict[str, Any]] = [
        {"trial": number, "job": number, "params": {evil("key"): evil("value")}, "on_front": True,
         "metrics": {**METRICS, name: 1.0 + number}, "misses": {}, "untrained": False}
        for number in range(2)
    ]  # fmt: skip
    found = {
        "objectives": {"accuracy": "maximize", name: "minimize"}, "budget": {}, "baseline": {},
        "reference": None, "hypervolume": None, "front": [0, 1], "default": None, "nearest": None,
        "importances": {"accuracy": {evil("key"): 1.0}, name: {evil("key"): 1.0}}, "trials": rows,
        "missed": "", "seconds_saved": None,
    }  # fmt: skip
    front_page(found, tmp_path / "front.html")
    check_page((tmp_path / "front.html").read_text(), "key", "value", "metric")
    check_terminal(front_table(found), "key", "value", "metric")


def test_a_card_shows_every_name_and_holds_no_markup_of_others(
    logged: Logged, digits: Dataset
) -> None:
    classes = tuple(evil(f"class{number}") for number in range(10))
    dataset = replace(digits, name=evil("name"), classes=classes)
    parts = Parts(dataset, OnnxRuntime(1, "onnxruntime"), Timing(1, 1, 1.0))
    labels = np.arange(10)
    candidate = gather([logged], "here").candidates[1]
    card = write_card(
        candidate, TestResult(labels, 9 - labels, labels, 5), parts, Budget(None, 1.0, None)
    )
    check_markdown(card, "run", "stage", "extra", "class9", *TAGS)
    assert len([line for line in card.splitlines() if line.startswith("#")]) == 5
    assert "\n    command<script>alert(1)</script>|" in card  # as it was, in a block of code


def test_the_table_of_a_note_in_mlflow_holds_no_markup_of_others() -> None:
    table = markdown([{"stage": evil("stage"), "note": evil("extra"), **METRICS}])
    check_markdown(table, "stage", "extra")


def test_tables_in_a_terminal_hold_no_control_characters(
    logged: Logged, capsys: pytest.CaptureFixture[str]
) -> None:
    zeros = {"zeros": 0.5, "compressed_mb": 1}
    row = {"stage": evil("stage"), "note": evil("extra"), **zeros, **METRICS}
    check_terminal(path_table(evil("run"), [row], {}), "run", "stage", "extra")
    jobs = [
        {"number": 0, "overrides": [evil("all"), evil("own")], "status": "FINISHED", "rows": [row]},
        {"number": 1, "overrides": [evil("all")], "status": "FAILED", "error": evil("error")},
    ]
    check_terminal(jobs_table(evil("sweep"), jobs), "sweep", "own", "all", "error")
    field = gather([logged], "here")
    budget = Budget(None, 1.0, None)
    found = walk([candidate.figures for candidate in field.candidates], budget, 0.0)
    check_terminal(walk_table(field.candidates, found, budget), "run", "stage", "extra")
    show(evil("line"), *field.notes)
    assert not OBEYED.search(capsys.readouterr().out)


def test_an_error_that_names_code_of_others_is_one_printable_line() -> None:
    with pytest.raises(ConfigError) as refused:
        require_allowed(EVIL, "a run")
    assert str(refused.value).isprintable()


def test_what_people_write_stays_as_it_is() -> None:
    for text in ("mobilenet_v2-prune0.50", "naïve 猫 🐈 ▶ a\u200db", "tab\tand\nline"):
        assert printable(text) == text
    assert in_markdown("mobilenet_v2, 1 threads") == "mobilenet_v2, 1 threads"
    assert in_markdown("_a_ & b") == r"\_a\_ \& b"
    assert one_line("a\r\nb\x07") == r"a b\x07"
