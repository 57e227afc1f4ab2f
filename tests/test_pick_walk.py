"""The order and the choice, against a brute-force reading; equality; McNemar by hand."""

from itertools import product
from math import comb, inf
from pathlib import Path

import numpy as np
import pytest
from command import run_here
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from paredown.budget import Budget
from paredown.errors import ConfigError
from paredown.measure.statistics import mcnemar, wilson
from paredown.pick.bundle import bundle_folder
from paredown.pick.candidates import gather
from paredown.pick.test_result import TestResult
from paredown.pick.walk import walk
from paredown.tracking.reader import Logged

IMAGES = 50


def point(hits: int, size: float, latency: float) -> dict[str, float]:
    low, high = wilson(hits, IMAGES)
    return {
        "accuracy": hits / IMAGES,
        "accuracy_low": low,
        "accuracy_high": high,
        "size_mb": size,
        "latency_ms": latency,
    }


POINTS = st.lists(
    st.builds(
        point,
        st.integers(30, IMAGES),
        st.integers(1, 6).map(float),
        st.one_of(st.just(inf), st.integers(1, 6).map(float)),
    ),
    max_size=12,
)
BUDGETS = st.builds(
    Budget,
    st.one_of(st.none(), st.integers(30, IMAGES).map(lambda hits: hits / IMAGES)),
    st.integers(1, 6).map(float),
    st.one_of(st.none(), st.integers(1, 6).map(float)),
)


def fits(found: dict[str, float], budget: Budget) -> bool:
    return (
        (budget.accuracy is None or found["accuracy"] >= budget.accuracy)
        and (budget.size_mb is None or found["size_mb"] <= budget.size_mb)
        and (budget.latency_ms is None or found["latency_ms"] <= budget.latency_ms)
    )


@given(POINTS, BUDGETS)
def test_without_tolerance_the_choice_is_the_most_accurate_that_fits_then_the_smallest(
    points, budget
) -> None:
    inside = [found for found in points if fits(found, budget)]
    chosen = walk(points, budget).chosen
    if not inside:
        assert chosen is None
        return
    best = max(found["accuracy"] for found in inside)
    equals = [found for found in inside if found["accuracy"] == best]
    smallest = min((found["size_mb"], found["latency_ms"]) for found in equals)
    assert fits(points[chosen], budget)
    assert points[chosen]["accuracy"] == best
    assert (points[chosen]["size_mb"], points[chosen]["latency_ms"]) == smallest


@given(POINTS, BUDGETS, st.integers(0, 20))
def test_with_tolerance_the_choice_is_the_cheapest_that_is_near_the_best_that_fits(
    points, budget, hits
) -> None:
    tolerance = hits / IMAGES
    found = walk(points, budget, tolerance)
    inside = [one for one in points if fits(one, budget)]
    if not inside:
        assert found.chosen is None
        return
    best = max(inside, key=lambda one: one["accuracy"])
    near = [
        one
        for one in inside
        if round((best["accuracy"] - one["accuracy"]) * IMAGES) <= hits
        and one["accuracy_high"] >= best["accuracy_low"]
    ]
    cheapest = min((one["size_mb"], one["latency_ms"]) for one in near)
    chosen = points[found.chosen]
    assert chosen in near
    assert (chosen["size_mb"], chosen["latency_ms"]) == cheapest
    assert points[found.first]["accuracy"] == best["accuracy"]


@given(POINTS, BUDGETS)
def test_the_walk_looks_at_each_once_and_at_nothing_that_fits_before_the_first(
    points, budget
) -> None:
    found = walk(points, budget)
    assert sorted(found.order) == list(range(len(points)))
    accuracies = [points[index]["accuracy"] for index in found.order]
    assert accuracies == sorted(accuracies, reverse=True)
    before = found.order if found.first is None else found.order[: found.order.index(found.first)]
    assert not any(fits(points[index], budget) for index in before)


@given(POINTS, BUDGETS)
@settings(max_examples=50)
def test_a_limit_that_is_loosened_as_told_lets_that_variant_in(points, budget) -> None:
    found = walk(points, budget)
    for name, index in found.relaxations.items():
        value = points[index][name]
        if value == inf:
            continue
        limits = {**budget.limits, name: value}
        looser = Budget(*(limits.get(key) for key in ("accuracy", "size_mb", "latency_ms")))
        assert fits(points[index], looser)


def test_equality_needs_the_tolerance_and_overlapping_intervals() -> None:
    def figures(accuracy: float, half: float, size: float) -> dict[str, float]:
        low, high = accuracy - half, accuracy + half
        return {"accuracy": accuracy, "accuracy_low": low, "accuracy_high": high,
                "size_mb": size, "latency_ms": 1.0}  # fmt: skip

    budget = Budget(None, 10.0, None)
    sure = [figures(0.99, 0.001, 5.0), figures(0.98, 0.001, 1.0)]
    unsure = [figures(0.99, 0.006, 5.0), figures(0.98, 0.006, 1.0)]
    assert walk(sure, budget, 0.01).chosen == 0  # near enough, and surely worse
    assert walk(unsure, budget, 0.01).chosen == 1
    assert walk(unsure, budget, 0.009).chosen == 0


def test_equality_makes_no_chain() -> None:
    points = [point(50, 3, 1), point(49, 2, 1), point(48, 1, 1)]  # each within 1 of its neighbour
    assert walk(points, Budget(None, 10.0, None), 0.02).chosen == 1


def test_an_unknown_latency_meets_no_limit_on_it_and_any_other_budget() -> None:
    points = [point(50, 1, inf)]
    assert walk(points, Budget(None, None, 100.0)).chosen is None
    assert walk(points, Budget(None, 1.0, None)).chosen == 0


@pytest.mark.parametrize(("lost", "won"), list(product(range(6), range(6))))
def test_mcnemar_is_the_two_sided_binomial_test(lost: int, won: int) -> None:
    expected = binomtest(lost, lost + won).pvalue if lost + won else 1.0
    assert mcnemar(lost, won) == pytest.approx(expected)


def test_mcnemar_by_hand_and_for_counts_that_no_float_holds() -> None:
    assert mcnemar(0, 5) == 2 / 2**5
    assert mcnemar(1, 4) == 2 * (comb(5, 0) + comb(5, 1)) / 2**5
    assert mcnemar(3, 3) == 1.0
    assert mcnemar(5000, 5000) == 1.0
    assert mcnemar(900, 1100) == pytest.approx(binomtest(900, 2000).pvalue)
    assert mcnemar(0, 10_000) == 0.0


def logged(number: int, cpu: str = "here", runtime: str = "ort", **tags: str) -> Logged:
    names = ("accuracy", "accuracy_low", "accuracy_high", "size_mb", "latency_ms")
    metrics = {f"{stage}/{name}": 0.5 for stage in ("baseline", "prune") for name in names}
    sums = {"baseline/sha256": "same", "prune/sha256": f"own{number}"}
    sums |= {f"{stage}/file": "model.onnx" for stage in ("baseline", "prune")}
    sums |= {f"{stage}/file": "model.onnx" for stage in ("baseline", "prune")}
    own = {"cpu": cpu, "runtime": runtime, "dataset": "digits", **sums, **tags}
    stages = ("baseline", "prune")
    return Logged(str(number), f"run{number}", number, None, stages, {}, metrics, own)


def test_equal_files_are_one_candidate_the_comparable_one_where_there_is_one() -> None:
    found = gather([logged(2, cpu="there"), logged(1)], "here").candidates
    titles = [(candidate.title, candidate.comparable) for candidate in found]
    assert titles == [("run1 · baseline", True), ("run2 · prune", False), ("run1 · prune", True)]
    assert found[1].figures["latency_ms"] == inf


def test_latencies_compare_within_the_runtime_of_the_newest_run_on_this_machine() -> None:
    runs = [logged(3, cpu="there"), logged(2, runtime="ort, 2"), logged(1, runtime="ort, 1")]
    found = {candidate.title: candidate.comparable for candidate in gather(runs, "here").candidates}
    assert found == {
        "run2 · baseline": True,
        "run3 · prune": False,
        "run2 · prune": True,
        "run1 · prune": False,
    }


def test_what_cannot_be_compared_or_shipped_is_left_out_and_told() -> None:
    broken = logged(5)
    del broken.metrics["prune/latency_ms"], broken.tags["baseline/file"]
    runs = [logged(4), logged(3, dataset="cifar10"), logged(2, runtime="torch"), broken]
    field = gather(runs, "here", {"torch"})
    assert [candidate.title for candidate in field.candidates] == [
        "run4 · baseline",
        "run4 · prune",
    ]
    assert len(field.notes) == 3
    assert any("2 variants on another dataset, cifar10" in note for note in field.notes)
    assert any("2 variants in runtime torch" in note for note in field.notes)
    assert any("2 variants without all figures" in note for note in field.notes)


def judged(count: int, hits: int, before: int, lost: int, won: int) -> TestResult:
    """Make a test result of two classes with these counts."""
    labels = np.zeros(count, np.int64)
    variant, baseline = labels.copy(), labels.copy()
    both = hits - won
    variant[hits:] = 1  # rightly by both, then by the variant alone
    baseline[both:hits] = 1
    baseline[hits + lost :] = 1
    result = TestResult(labels, variant, baseline, hits)
    assert (result.hits, result.baseline_hits) == (hits, before)
    assert (result.only_baseline_correct, result.only_variant_correct) == (lost, won)
    return result


@pytest.mark.parametrize(
    ("result", "part"),
    [
        (judged(100, 90, 90, 0, 0), "correct on the same images as the baseline"),
        (judged(100, 90, 93, 4, 1), "3.00 points below the baseline (4 images only it gets right"),
        (judged(100, 90, 93, 4, 1), "1 only this variant; exact McNemar p = 0.38: not significant"),
        (judged(100, 90, 80, 0, 10), "10.00 points above the baseline"),
        (judged(100, 90, 80, 0, 10), "exact McNemar p = 0.002: significant"),
    ],
)
def test_a_verdict_tells_what_the_comparison_is_worth(result: TestResult, part: str) -> None:
    assert part in result.verdict()


def test_a_folder_that_no_pick_made_is_refused_and_nothing_below_it_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full" / "deep").mkdir(parents=True)
    monkeypatch.setattr(Path, "rglob", lambda *_: pytest.fail("it walked"))
    with pytest.raises(ConfigError, match=r"^pick\.folder must .* with deep"):
        bundle_folder(str(tmp_path / "full"), gather([logged(1)], "here").candidates[0])


@pytest.mark.parametrize("folder", ["/", "full", "file/x/y"])
def test_a_folder_that_cannot_be_the_bundle_is_refused_before_any_run_is_read(
    tmp_path: Path, folder: str
) -> None:
    (tmp_path / "full" / "deep").mkdir(parents=True)
    (tmp_path / "file").touch()
    done = run_here(tmp_path, "budget.size_mb=1", f"pick.folder={folder}", verb="pick")
    assert done.returncode == 2
    assert done.stderr.startswith("error: pick.folder must ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "mlruns").exists()
