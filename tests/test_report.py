from io import StringIO

import pytest
from rich.console import Console

from paredown.report import Fitted, jobs_table, markdown, path_table, show
from paredown.report.fitted import Column
from paredown.report.jobs import one_baseline, split_overrides

BASELINE = {
    "stage": "baseline",
    "accuracy": 0.975,
    "accuracy_low": 0.9534,
    "accuracy_high": 0.9866,
    "size_mb": 44.7001,
    "latency_ms": 2.5,
    "latency_ms_p95": 3.25,
    "speedup": 1.0,
    "speedup_low": 1.0,
    "speedup_high": 1.0,
    "params": 11_181_642,
    "macs": 37_220_000,
    "sparsity": 0.0,
}
PRUNED = BASELINE | {
    "stage": "prune",
    "speedup": 3.456,
    "speedup_low": 3.2,
    "speedup_high": 3.711,
    "params": 2_795_410,
    "sparsity": 0.75,
}
EAGER = {"latency_ms": 5.0, "latency_ms_p95": 6.5, "runtime_speedup": 2.04}
PRUNE = ["technique.stages=[distill,prune]", "prune.amount=0.5"]


def text(table: Fitted, width: int = 250) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


def line(table: Fitted, word: str) -> str:
    return next(line for line in text(table).splitlines() if word in line)


def test_a_row_tells_each_metric_with_its_interval() -> None:
    row = line(path_table("cnn4", [BASELINE, PRUNED], EAGER), "prune")
    cells = [cell.strip() for cell in row.strip("│┃ ").split("│")]
    assert cells == [
        "prune",
        "97.50% [95.3%, 98.7%]",
        "44.700",
        "2.500 (3.250)",
        "3.46 [3.20, 3.71]",
        "2,795,410",
        "37.22",
        "75.0%",
    ]


def test_rows_come_in_the_order_of_the_path_below_the_name_of_the_run() -> None:
    shown = text(path_table("resnet18-prune0.50", [BASELINE, PRUNED], EAGER))
    assert shown.index("resnet18-prune0.50") < shown.index("baseline") < shown.index("prune  ")
    assert "5.00 ms (p95 6.50)" in shown
    assert "2.0 times faster" in shown


def test_a_speed_up_without_an_interval_is_shown_alone() -> None:
    alone = {name: value for name, value in PRUNED.items() if "speedup_" not in name}
    assert "│ 3.46 │" in " ".join(line(path_table("cnn4", [alone], EAGER), "prune").split())


def job(**changes: object) -> dict[str, object]:
    rows = [BASELINE, PRUNED]
    return {"number": 3, "overrides": PRUNE, "status": "FINISHED", "rows": rows} | changes


def test_a_job_is_told_by_the_metrics_of_its_last_stage() -> None:
    shown = text(jobs_table("sweep", [job()]))
    assert "2,795,410" in shown
    assert "11,181,642" not in shown


def test_overrides_are_shown_as_they_were_typed() -> None:
    assert " ".join(PRUNE) in text(jobs_table("sweep", [job()]))


def test_what_all_jobs_share_is_told_once_below_what_tells_them_apart() -> None:
    jobs = [job(number=at, overrides=[PRUNE[0], f"prune.amount=0.{at}"]) for at in (3, 5)]
    shown = text(jobs_table("sweep", jobs))
    assert shown.count(PRUNE[0]) == shown.count("prune.amount=0.3") == 1
    assert shown.index("prune.amount=0.5") < shown.index(PRUNE[0])


@pytest.mark.parametrize("error", ["got ['quantize', 'prune']", "got [prune]", "no [/b] here"])
def test_a_failed_job_shows_its_error_word_by_word(error: str) -> None:
    shown = text(jobs_table("sweep", [job(status="FAILED", error=error)]))
    assert f"FAILED: {error}" in shown
    assert "2,795,410" not in shown


def test_markdown_has_a_line_a_row_and_a_cell_a_column() -> None:
    lines = markdown([BASELINE, PRUNED]).splitlines()
    assert len(lines) == 4
    assert {line.count("|") for line in lines} == {9}
    assert lines[3].startswith("| prune | 97.50% | 44.700 | 2.500 | 3.46 |")


@pytest.mark.parametrize("place", ["/tmp/" + "long/" * 60, "/tmp/runs [old]/a", "/tmp/[b]/a"])
def test_a_pipe_gets_a_line_of_text_as_it_is(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show(place)
    assert capsys.readouterr().out == place + "\n"


def test_a_pipe_gets_a_table_in_full_width(capsys: pytest.CaptureFixture[str]) -> None:
    show(path_table("cnn4", [BASELINE, PRUNED], EAGER))
    assert "97.50% [95.3%, 98.7%]" in capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 100, 140])
def test_a_table_fits_its_window_and_every_number_in_it_is_whole(width: int) -> None:
    path = path_table("cnn4", [BASELINE, PRUNED], EAGER)
    jobs = [job(number=at, overrides=[f"prune.amount=0.{at}", "model=resnet18"]) for at in (3, 5)]
    for table in (path, jobs_table("sweep", jobs)):
        shown = text(table, width)
        assert max(map(len, shown.splitlines())) <= width
        assert "…" not in shown
        assert "97.50%" in shown
        assert "44.700" in shown
    assert ("11,181,642" in text(path, width)) == (width >= 100)
    assert "97.50% [95.3%, 98.7%]" in text(path, width)


def test_words_are_broken_between_and_not_within_where_there_is_room() -> None:
    name = "resnet18-mobilenet_v2-prune0.50-int8"
    columns = [
        Column("run", [name], number=False),
        Column("misses by", ["nothing: picked, cheaper than its equal"], number=False),
        Column("MB", ["0.801"]),
    ]
    shown = text(Fitted("walk", columns), 64)
    assert max(map(len, shown.splitlines())) <= 64
    assert name in shown
    narrow = text(Fitted("walk", columns), 40)  # then all letters are there, in more lines
    assert max(map(len, narrow.splitlines())) <= 40
    cells = [line.split("│")[1].strip() for line in narrow.splitlines() if "│" in line]
    assert "".join(cells) == name


def test_a_window_of_sixty_letters_leaves_intervals_out_before_figures() -> None:
    cells = text(path_table("cnn4", [BASELINE, PRUNED], EAGER), 60)
    assert max(map(len, cells.splitlines())) <= 60
    assert "│ prune    │" in cells
    assert "3.46" in cells
    assert "[3.20, 3.71]" not in cells


def test_swept_values_have_four_digits_unless_two_jobs_would_look_alike() -> None:
    searched = ["prune.amount=0.3416107735863186", "distill.temperature=12.345678", "seed=20261128"]
    _, own = split_overrides([searched, ["prune.amount=0.5", "seed=1"]])
    assert own[0] == "prune.amount=0.3416 distill.temperature=12.35 seed=20261128"
    close = [["prune.amount=0.34161"], ["prune.amount=0.34162"]]
    assert split_overrides(close)[1] == ["prune.amount=0.34161", "prune.amount=0.34162"]


@pytest.mark.parametrize(
    "other",
    [
        {"rows": [BASELINE | {"params": 5, "size_mb": 0.4}, PRUNED]},
        {"overrides": ["runtime=torch"]},
    ],
    ids=["another network", "another runtime"],
)
def test_speed_ups_against_different_baselines_do_not_stand_side_by_side(
    other: dict[str, object],
) -> None:
    jobs = [job(), job(number=4, **other)]
    assert not one_baseline(jobs)
    shown = text(jobs_table("sweep", jobs))
    assert "speed-up │" not in shown
    assert "3.46" not in shown
    assert "2.500" in shown
    assert "different baselines: compare milliseconds" in " ".join(shown.split())
    assert "3.46" in text(jobs_table("sweep", [job(), job(number=4)]))


def test_a_run_that_was_timed_without_eager_pytorch_does_not_promise_latency_later() -> None:
    assert "Latency is taken" not in text(path_table("cnn4", [BASELINE, PRUNED], {}))
    untimed = [{name: row[name] for name in row if "latency" not in name and "speedup" not in name}
               for row in (BASELINE, PRUNED)]  # fmt: skip
    assert "Latency is taken" in text(path_table("cnn4", untimed, {}))


def test_zeros_are_told_with_what_they_pack_to() -> None:
    zeroed = PRUNED | {"zeros": 0.5, "compressed_mb": 22.3, "note": "shape unchanged"}
    told = text(
        path_table("cnn4", [BASELINE | {"zeros": 0.0, "compressed_mb": 41.0}, zeroed], EAGER)
    )
    assert "prune (shape unchanged)" in told
    assert "In prune 50% of the weights are zeros: 22.30 MB after DEFLATE" in told
    assert "In baseline" not in told
