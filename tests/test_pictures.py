"""The picture and the page of a search, from data in the format of front.json."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from paredown.budget import Budget
from paredown.front import front, hypervolume
from paredown.pictures import front_page, front_picture
from paredown.pictures.figures import growth_figure, importances_figure
from paredown.pictures.hover import hover_lines
from paredown.pictures.labels import box, sides
from paredown.pictures.panels import headline, scatters

OBJECTIVES = {"accuracy": "maximize", "size_mb": "minimize", "speedup": "maximize"}
BASELINE = {"accuracy": 0.99, "size_mb": 44.7, "latency_ms": 1.0, "speedup": 1.0, "params": 11_000}


def trial(number: int, **changes: object) -> dict:
    """Give a trial whose accuracy falls and whose cost falls faster, the more it prunes."""
    amount = (number * 37 % 80) / 100 + 0.1
    latency = 0.3 * (1.1 - amount)
    metrics = {
        "accuracy": 0.99 - 0.1 * amount**3 - 0.004 * (number % 3),
        "size_mb": 2.2 * (1 - amount) ** 2 + 0.05,
        "latency_ms": latency,
        "speedup": 1 / latency,
        "params": 2_000_000,
    }
    params = {"prune.amount": amount, "model@student": "cnn4"}
    return {
        "trial": number,
        "job": number,
        "params": params,
        "metrics": metrics,
        "misses": {},
        "on_front": False,
        "untrained": False,
    } | changes


def search(trials: list[dict], budget: dict[str, float] | None = None, **changes: object) -> dict:
    """Judge trials as the sweeper does."""
    limits = Budget(**{"accuracy": None, "size_mb": None, "latency_ms": None, **(budget or {})})
    trained = [row for row in trials if not row["untrained"]]
    for row in trained:
        row["misses"] = limits.misses(row["metrics"]) if budget else {}
    inside = [row for row in trained if limits.meets(row["metrics"])] if budget else trained
    whole = all(name in row["metrics"] for row in inside for name in OBJECTIVES)
    best = front([row["metrics"] for row in inside], OBJECTIVES) if whole else []
    for at in best:
        inside[at]["on_front"] = True
    reference = {"accuracy": 0, "size_mb": BASELINE["size_mb"], "speedup": 0}
    grown = [
        hypervolume([row["metrics"] for row in inside if row["trial"] <= until], OBJECTIVES,
                    reference)
        for until in range(len(trials))
    ] if whole else None  # fmt: skip
    missed = trials and not inside
    return {
        "objectives": OBJECTIVES,
        "budget": budget or {},
        "reference": reference,
        "hypervolume": grown,
        "front": [row["trial"] for row in trials if row["on_front"]],
        "nearest": trials[0]["trial"] if missed else None,
        "missed": "no trial meets the budget; trial 0 comes nearest" if missed else "",
        "default": 3 if len(trials) > 3 else None,
        "baseline": BASELINE,
        "importances": {
            "accuracy": {"prune.amount": 0.7, "model@student": 0.3},
            "size_mb": {"prune.amount": 0.9, "model@student": 0.1},
        },
        "trials": trials,
    } | changes


BUDGET = {"accuracy": 0.95, "size_mb": 1.0, "latency_ms": 0.25}


def untrained(number: int) -> dict:
    metrics = {"size_mb": 2.0, "latency_ms": 0.28, "params": 1_900_000, "macs": 5_000_000}
    return trial(number, metrics=metrics, misses={"size_mb": 1.0}, untrained=True)


@pytest.fixture
def plain() -> dict:
    return search([trial(number) for number in range(20)])


@pytest.fixture
def tight() -> dict:
    rows = [untrained(number) if number % 5 == 4 else trial(number) for number in range(20)]
    return search(rows, BUDGET)


EDGES = {
    "no trial": lambda: search([]),
    "one trial": lambda: search([trial(0)]),
    "nothing meets the budget": lambda: search([trial(0), trial(1)], {"size_mb": 0.001}),
    "nothing was trained": lambda: search([untrained(0), untrained(1)], BUDGET),
    "no hypervolume, baseline, importances": lambda: search(
        [trial(0), trial(1)], hypervolume=None, baseline={}, importances={}
    ),
    "equal trials": lambda: search([trial(0), trial(0, trial=1)]),
    "one metric, and not accuracy": lambda: search(
        [trial(at, metrics={"loss": at * 1.5}) for at in range(3)],
        objectives={"loss": "minimize"},
        hypervolume=None,
        baseline={},
    ),
    "a metric that is no number": lambda: search(
        [trial(0, metrics=trial(0)["metrics"] | {"latency_ms": float("nan")}), trial(1)],
        hypervolume=None,
    ),
}


class Figures(HTMLParser):
    """Reads Plotly's figures, by id, the cells of the tables, and the page's own text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.figures: dict[str, dict] = {}
        self.cells: list[str] = []
        self.outside: list[str] = []
        self._into: str | None = None
        self._in: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._in.append(tag)
        self._into = dict(attributes).get("data-into") if tag == "script" else None
        self.outside += [value for name, value in attributes if name in ("src", "href") and value]

    def handle_endtag(self, tag: str) -> None:
        while self._in and self._in.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._into is not None:
            self.figures[self._into] = json.loads(data)
            self._into = None
        elif "td" in self._in:
            self.cells.append(data)


def drawn(found: dict, folder: Path) -> Figures:
    file = folder / "front.html"
    front_page(found, file)
    return Figures(file.read_text())


def points(figure: dict, name: str) -> set[tuple[float, float]]:
    traces = [trace for trace in figure["data"] if trace["name"] == name]
    return {at for trace in traces for at in zip(trace["x"], trace["y"], strict=True)}


def test_the_page_shows_every_trial_where_it_was_measured(plain: dict, tmp_path: Path) -> None:
    figures = drawn(plain, tmp_path).figures
    assert {name for name in figures if name.startswith("accuracy-")} == {
        "accuracy-size_mb",
        "accuracy-speedup",  # as was searched for, not the milliseconds
    }
    for metric in ("speedup", "size_mb"):
        shown = figures[f"accuracy-{metric}"]
        for kind, on_front in (("front", True), ("dominated", False)):
            assert points(shown, kind) == {
                (row["metrics"][metric], row["metrics"]["accuracy"])
                for row in plain["trials"]
                if row["on_front"] is on_front
            }
        assert points(shown, "baseline") == {(BASELINE[metric], 0.99)}
        own = plain["trials"][3]["metrics"]
        assert points(shown, "default values") == {(own[metric], own["accuracy"])}


def test_labels_of_the_front_are_the_numbers_of_its_trials(plain: dict, tmp_path: Path) -> None:
    for name, figure in drawn(plain, tmp_path).figures.items():
        if name.startswith("accuracy"):
            (labelled,) = [trace for trace in figure["data"] if "text" in trace]
            assert [int(text) for text in labelled["text"]] == plain["front"]


def test_hovering_tells_trial_job_values_and_the_figures(plain: dict, tmp_path: Path) -> None:
    plain["trials"][0]["job"] = None
    hovers = [
        text
        for trace in drawn(plain, tmp_path).figures["accuracy-size_mb"]["data"]
        for text in trace["customdata"]
    ]
    of_7 = next(text for text in hovers if "trial 7<" in text)
    assert "job 7<br>" in of_7
    for told in ("prune.amount = 0.29", "model@student = cnn4", "accuracy 98.", "speed-up 4.1"):
        assert told in of_7
    assert "2,000,000" in of_7
    assert "from an earlier sweep" in next(text for text in hovers if "trial 0<" in text)


def test_a_hover_box_has_six_lines_at_most_and_the_figures_have_their_intervals() -> None:
    ends = {"accuracy_low": 0.97, "accuracy_high": 0.99, "speedup_low": 3.5, "speedup_high": 4.5}
    more = {"latency_ms_p95": 0.5, "macs": 1e6, "zeros": 0.0, "layers": 5, "sparsity": 0.5}
    params = {f"group{at}.name": at / 7 for at in range(9)}
    lines = hover_lines(trial(7, params=params, metrics=trial(7)["metrics"] | ends | more))
    assert len(lines) == 6
    assert "[97.0%, 99.0%]" in lines[3]
    assert "[3.50, 4.50]" in lines[5]
    assert all(name in "".join(lines) for name in params)


def test_what_came_to_nothing_is_marked_at_the_edge_and_squeezes_no_axis(tmp_path: Path) -> None:
    rows = [trial(number) for number in range(10)]
    for number in (3, 8):
        rows[number]["metrics"]["accuracy"] = 0.1
    figure = drawn(search(rows), tmp_path).figures["accuracy-size_mb"]
    (below,) = [trace for trace in figure["data"] if trace["name"] == "below the axis"]
    assert below["x"] == [rows[number]["metrics"]["size_mb"] for number in (3, 8)]
    assert figure["layout"]["yaxis"]["range"][0] > 0.8
    assert "accuracy 10.00%" in below["customdata"][0]


def test_the_page_of_a_search_says_what_it_is_about(plain: dict, tmp_path: Path) -> None:
    about = {"data": "digits <b>", "machine": "some CPU", "next": "python pick.py 'a b'"}
    front_page(plain | {"about": about}, tmp_path / "front.html")
    text = (tmp_path / "front.html").read_text()
    assert "<dd>digits &lt;b&gt;</dd>" in text
    assert "<dd><code>python pick.py &#39;a b&#39;</code></dd>" in text
    assert text.index("<dt>data</dt>") < text.index("data-into")


def test_a_trial_that_was_never_trained_is_a_mark_on_the_axis(tight: dict, tmp_path: Path) -> None:
    figure = drawn(tight, tmp_path).figures["accuracy-size_mb"]
    (rug,) = [trace for trace in figure["data"] if trace["name"] == "never trained"]
    assert rug["x"] == [2.0] * 4
    assert rug["yaxis"] == "y2"


def test_the_budget_is_drawn_and_what_it_excludes_is_shaded(tight: dict, tmp_path: Path) -> None:
    layout = drawn(tight, tmp_path).figures["accuracy-size_mb"]["layout"]
    lines = [shape for shape in layout["shapes"] if shape["type"] == "line"]
    shades = [shape for shape in layout["shapes"] if shape["type"] == "rect"]
    assert {shape["x0"] for shape in lines if shape.get("yref") == "paper"} == {1.0}
    assert {shape["y0"] for shape in lines if shape.get("xref") == "paper"} == {0.95}
    size, accuracy = (next(s for s in shades if s.get(ref) == "paper") for ref in ("yref", "xref"))
    assert (size["x0"], size["x1"] > 44.7) == (1.0, True)
    assert (accuracy["y0"], accuracy["y1"]) == (0.95, 0.0)


def test_every_trial_is_of_one_kind_and_none_over_the_budget_is_on_the_front(tight: dict) -> None:
    panel = next(panel for panel in scatters(tight) if panel.x == "size_mb")
    kinds = ("front", "dominated", "missed", "nearest")
    told = [row["trial"] for kind in kinds for row in panel.points.get(kind, [])]
    told += [row["trial"] for row in panel.rug]
    assert sorted(told) == list(range(20))
    for row in panel.points["missed"]:
        assert not Budget(**BUDGET).meets(row["metrics"])


def test_the_hypervolume_and_the_importances_are_as_found(plain: dict, tmp_path: Path) -> None:
    figures = drawn(plain, tmp_path).figures
    (line,) = figures["hypervolume"]["data"]
    assert line["y"] == plain["hypervolume"]
    bars = {trace["name"]: trace for trace in figures["importances"]["data"]}
    assert bars["size"]["y"] == ["model@student", "prune.amount"]
    assert bars["size"]["x"] == [0.1, 0.9]
    assert bars["accuracy"]["x"] == [0.3, 0.7]


def test_the_table_holds_the_front_best_first(plain: dict, tmp_path: Path) -> None:
    cells = drawn(plain, tmp_path).cells
    columns = len(cells) // len(plain["front"])
    numbers = [int(cell) for cell in cells[::columns]]
    accuracy = [plain["trials"][number]["metrics"]["accuracy"] for number in numbers]
    assert sorted(numbers) == plain["front"]
    assert accuracy == sorted(accuracy, reverse=True)
    assert f"{accuracy[0]:.2%}" in cells[:columns]


def test_the_page_needs_no_network(plain: dict, tmp_path: Path) -> None:
    assert drawn(plain, tmp_path).outside == []


def test_plotly_takes_every_figure(tight: dict, tmp_path: Path) -> None:
    from plotly.graph_objects import Figure

    for figure in drawn(tight, tmp_path).figures.values():
        taken = Figure(figure)  # raises on a property that Plotly does not know
        assert len(taken.data) == len(figure["data"]) > 0


def test_names_from_the_outside_are_shown_and_not_run(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    rows = [trial(0, params={evil: evil}), trial(1)]
    front_page(search(rows, importances={"accuracy": {evil: 1.0}}), tmp_path / "front.html")
    text = (tmp_path / "front.html").read_text()
    assert "<script>alert" not in text
    assert "<img" not in re.sub(r"<script>/\*.*?</script>", "", text, count=1, flags=re.DOTALL)
    figures = Figures(text).figures
    assert len(figures) == 4
    assert figures["importances"]["data"][0]["y"] == [
        evil.replace("<", "&lt;").replace(">", "&gt;")
    ]


def test_logarithms_are_used_where_an_axis_spans_much(plain: dict) -> None:
    assert all(panel.x_log for panel in scatters(plain))
    near = search([trial(0), trial(1)], baseline={})
    assert [panel.x_log for panel in scatters(near)] == [False, False]


def test_the_headline_says_what_is_seen(plain: dict, tight: dict) -> None:
    count = len(plain["front"])
    assert (
        headline(plain) == f"{count} of 20 trials are on the front of accuracy, size and speed-up"
    )
    assert headline(tight).endswith("; 4 could not meet the budget and were never trained")
    assert headline(EDGES["no trial"]()) == "no trial finished"
    assert headline(EDGES["one trial"]()).startswith("1 of 1 trial is on the front")
    assert headline(EDGES["nothing meets the budget"]()).startswith("no trial meets the budget")


def test_growth_names_the_last_trial_that_helped(plain: dict) -> None:
    told = growth_figure(plain | {"hypervolume": [1.0, 2.0, 2.0, 5.0, *[5.0] * 16]})
    assert told is not None
    assert told[0] == "hypervolume by trial: the front last grew at trial 3 of 19"
    assert growth_figure(plain | {"hypervolume": None}) is None
    assert growth_figure(plain | {"hypervolume": [0.0] * 20}) is None


def test_shares_come_by_weight_and_a_missing_one_counts_as_nothing(plain: dict) -> None:
    told = importances_figure(
        plain | {"importances": {"accuracy": {"a": 0.2, "b": 0.8}, "size_mb": {"a": 1.0}}}
    )
    assert told is not None
    bars = {trace["name"]: (trace["y"], trace["x"]) for trace in told[1]["data"]}
    assert bars == {"accuracy": (["b", "a"], [0.8, 0.2]), "size": (["b", "a"], [0.0, 1.0])}
    assert importances_figure(plain | {"importances": {}}) is None


def test_the_picture_is_a_page_of_panels_and_not_blank(tight: dict, tmp_path: Path) -> None:
    front_picture(tight, tmp_path / "front.png")
    image = imread(tmp_path / "front.png")[..., :3]
    assert image.shape[0] > 900
    assert image.shape[1] > 1200
    height, width = image.shape[0] // 2, image.shape[1] // 2
    for panel in (image[:height, :width], image[:height, width:], image[height:, :width]):
        assert 0.005 < (panel < 0.9).any(axis=2).mean() < 0.9
    blue = np.abs(image - np.array([0x2F, 0x7E, 0xD8]) / 255).max(axis=2) < 0.02
    assert blue[:height, :width].sum() > 50  # the front's points


@pytest.mark.parametrize("case", EDGES)
def test_whatever_was_found_is_drawn(case: str, tmp_path: Path) -> None:
    found = EDGES[case]()
    front_picture(found, tmp_path / "front.png")
    assert imread(tmp_path / "front.png").std() > 0.01
    figures = drawn(found, tmp_path).figures
    assert figures or case == "no trial"


def test_a_search_without_accuracy_shows_what_it_sought(tmp_path: Path) -> None:
    figure = drawn(EDGES["one metric, and not accuracy"](), tmp_path).figures["loss-trial"]
    shown = points(figure, "dominated")
    assert shown == {(0, 0.0), (1, 1.5), (2, 3.0)}


@pytest.mark.parametrize("draw", [front_picture, front_page], ids=["picture", "page"])
def test_the_same_data_give_the_same_bytes(draw, tight: dict, tmp_path: Path) -> None:
    for name in ("one", "two"):
        draw(tight, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_label_without_room_is_left_out() -> None:
    same = [(100.0, 100.0)] * 30
    found = sides(same, [str(at) for at in range(100, 130)], [], 9, 4, (300, 200))
    told = [box(point, "100", side, 9, 4) for point, side in zip(same, found, strict=True) if side]
    assert 1 < len(told) < 30
    assert not any(overlap(told[a], told[b]) for a in range(len(told)) for b in range(a))


def overlap(one: tuple, other: tuple) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def test_labels_of_close_points_do_not_overlap() -> None:
    close = [(100.0, 100.0), (106.0, 103.0), (103.0, 94.0), (112.0, 97.0)]
    texts = ["12", "7", "31", "104"]
    found = sides(close, texts, [(100.0, 112.0)], 9, 4, (300, 200))
    told = [box(*each, 9, 4) for each in zip(close, texts, found, strict=True)]
    assert not any(overlap(told[a], told[b]) for a in range(4) for b in range(a))


@given(st.tuples(st.floats(0, 300), st.floats(0, 200)))
def test_a_lonely_label_stays_inside_the_panel(point: tuple[float, float]) -> None:
    (side,) = sides([point], ["27"], [], 9, 4, (300, 200))
    left, low, right, high = box(point, "27", side, 9, 4)
    assert left >= 0
    assert low >= -5  # half a letter where the point is in the corner
    assert right <= 300
    assert high <= 205
