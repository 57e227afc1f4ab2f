"""What a report says of itself: networks, dates, the next command."""

import pytest

from paredown.report.about import dates, listed, pick_command, round_up
from paredown.report.content import setting_titles
from paredown.report.measured import Setting, against_of, best, variants
from paredown.tracking.reader import Logged

NOON = 1_795_867_200_000  # 2026-11-28 12:00 UTC, in milliseconds


def logged(name: str, dataset: str, parent: str | None, size: float) -> Logged:
    metrics = {"accuracy": 0.9 + size / 100, "size_mb": size, "latency_ms": 1.0}
    figures = {f"baseline/{key}": value for key, value in metrics.items()}
    tags = {"dataset": f"{dataset} abc", "baseline/sha256": name}
    return Logged(name, f"{name}-int8", NOON, parent, ("baseline",), {}, figures, tags)


@pytest.mark.parametrize(
    ("minutes", "text"),
    [
        ([0], "2026-11-28 12:00 UTC"),
        ([90, 0], "2026-11-28 12:00 to 13:30 UTC"),
        ([0, 1440], "2026-11-28 12:00 to 2026-11-29 12:00 UTC"),
    ],
)
def test_dates_are_said_once_and_in_utc(minutes: list[int], text: str) -> None:
    assert dates([NOON + 60_000 * minute for minute in minutes]) == text


def test_a_list_begins_with_the_most_frequent_and_counts_what_it_leaves_out() -> None:
    assert listed(["a", "b", "b", ""]) == "b; a"
    assert listed(map(str, range(9))) == "0; 1; 2; 3; 4; 5 and 3 more"


@pytest.mark.parametrize(
    ("value", "text"), [(0.0251, "0.026"), (0.8, "0.8"), (44.719, "45"), (99.5, "100"), (0, "0")]
)
def test_a_budget_is_never_below_the_file_that_it_is_for(value: float, text: str) -> None:
    assert round_up(value) == text
    assert float(text) >= value


def test_the_next_command_picks_from_one_data_set() -> None:
    runs = [logged("one", "digits", "sweep1", 1.0), logged("two", "digits", None, 2.0)]
    several = next(iter(variants(runs).values()))
    assert pick_command(runs, several, best(several), None).endswith("pick.py budget.size_mb=2")
    mixed = [*runs[:1], logged("three", "other", "sweep2", 3.0)]
    several = next(iter(variants(mixed).values()))
    command = pick_command(mixed, several, best(several), None)
    assert command.endswith("pick.py pick.sweep=sweep1 budget.size_mb=1")
    assert "pick.sweep='a b'" in pick_command(runs, several, best(several), "a b").replace(
        "'pick.sweep=a b'", "pick.sweep='a b'"
    )


def test_sections_have_different_titles() -> None:
    one = Setting("digits abcdef0123", "CPU", "ort, 1 threads")
    assert setting_titles([one]) == ["digits, ort, 1 threads"]
    other = [Setting("digits 9876543210", "CPU", "ort, 1 threads"),
             Setting("digits abcdef0123", "another", "ort, 1 threads")]  # fmt: skip
    for second in other:
        titles = setting_titles([one, second])
        assert len(set(titles)) == 2
        assert all(title.startswith("digits") for title in titles)
    assert len(set(setting_titles([one, *other]))) == 3


def test_a_baseline_is_named_with_its_size() -> None:
    run = logged("cnn4", "digits", None, 0.39812)
    assert against_of(run) == "cnn4, 0.398 MB"
    tags = {**run.tags, "baseline": "resnet18, 44.7 MB"}
    assert against_of(Logged("id", "x", 0, None, (), {}, {}, tags)) == "resnet18, 44.7 MB"
