import pytest
from hypothesis import given
from hypothesis import strategies as st

from paredown.report.content import different_cpus
from paredown.report.measured import Measured, Setting, best, not_faster, spans, variants
from paredown.tracking.reader import Logged

TAGS = {"dataset": "digits abc", "cpu": "some CPU", "runtime": "onnxruntime, 1 threads"}
SETTING = Setting("digits abc", "some CPU", "onnxruntime, 1 threads")


def measured(accuracy: float, size: float, latency: float, macs: float = 1e6) -> dict[str, float]:
    return {"accuracy": accuracy, "size_mb": size, "latency_ms": latency, "macs": macs}


def logged(name: str, stages: dict[str, dict[str, float]], **tags: str) -> Logged:
    metrics = {f"{stage}/{key}": at for stage, of in stages.items() for key, at in of.items()}
    files = {f"{stage}/sha256": f"{name}-{stage}" for stage in stages}
    return Logged(name, name, 0, None, tuple(stages), {}, metrics, {**TAGS, **files, **tags})


def test_a_file_that_several_runs_made_counts_once_with_its_median_latency() -> None:
    same = {"baseline/sha256": "same"}
    runs = [
        logged(str(at), {"baseline": measured(0.9, 4, ms), "prune": measured(0.8, 2, 1)}, **same)
        for at, ms in enumerate((3.0, 9.0, 4.0))
    ]
    found = variants(runs)[SETTING]
    assert len(found) == 4
    assert (found[0].runs, found[0].stage) == ((1, 2, 3), "baseline")
    assert found[0].metrics["latency_ms"] == 4.0
    assert [one.runs for one in found[1:]] == [(1,), (2,), (3,)]


@pytest.mark.parametrize("tag", ["dataset", "cpu", "runtime"])
def test_what_holds_for_something_else_is_not_compared(tag: str) -> None:
    one = logged("one", {"baseline": measured(0.9, 4, 2)})
    other = logged("other", {"baseline": measured(0.8, 4, 2)}, **{tag: "another"})
    found = variants([one, other])
    assert [[one.name for one in several] for several in found.values()] in (
        [["one"], ["other"]],
        [["other"], ["one"]],
    )


def test_runs_of_different_cpus_are_warned_of_in_one_line() -> None:
    runs = [logged(name, {}, cpu=name) for name in ("one CPU", "other CPU", "one CPU")]
    told = different_cpus(runs)
    assert told.startswith("These runs are of 2 CPUs: one CPU, other CPU. ")
    assert "\n" not in told
    assert different_cpus(runs[::2]) == ""


def test_the_most_accurate_comes_first_and_of_equal_ones_the_smaller() -> None:
    points = [measured(0.8, 1, 1), measured(0.9, 3, 1), measured(0.9, 2, 1)]
    found = variants([logged(str(at), {"baseline": of}) for at, of in enumerate(points)])[SETTING]
    assert [one.name for one in found] == ["2", "1", "0"]


def test_a_stage_without_its_figures_is_no_variant() -> None:
    assert variants([logged("old", {"baseline": {"accuracy": 0.9}})]) == {}


numbers = st.floats(0.1, 10) | st.sampled_from([1.0, 2.0])
points = st.lists(st.tuples(numbers, numbers, numbers, numbers), max_size=12)


@given(points)
def test_the_front_is_what_nothing_beats(drawn: list[tuple[float, float, float, float]]) -> None:
    runs = [logged(str(at), {"baseline": measured(*of)}) for at, of in enumerate(drawn)]
    several = variants(runs).get(SETTING, [])
    costs = [
        (-one.metrics["accuracy"], one.metrics["size_mb"], one.metrics["latency_ms"])
        for one in several
    ]
    beaten = {
        at
        for at, cost in enumerate(costs)
        if any(
            other != cost and all(a <= b for a, b in zip(other, cost, strict=True))
            for other in costs
        )
    }
    assert {costs[at] for at in best(several)} == {
        cost for at, cost in enumerate(costs) if at not in beaten
    }


def sped(
    macs: float, latency: float, speedup: float, spread: float | None, baseline: str
) -> Measured:
    interval = {}
    if spread is not None:
        interval = {"speedup_low": speedup - spread, "speedup_high": speedup + spread}
    metrics = measured(0.9, 1, latency, macs) | {"speedup": speedup, **interval}
    return Measured((1,), "name", "prune", "prune", baseline, metrics)


@given(
    st.lists(
        st.builds(
            sped,
            numbers,
            numbers,
            numbers,
            st.none() | st.floats(0, 0.5),
            st.sampled_from(["one", "two"]),
        ),
        max_size=12,
    )
)
def test_what_has_fewer_macs_and_is_not_faster_is_found(several: list[Measured]) -> None:
    def ends(one: Measured) -> tuple[float, float]:
        alone = one.metrics["speedup"]
        return one.metrics.get("speedup_low", alone), one.metrics.get("speedup_high", alone)

    found = not_faster(several)
    for at, one in enumerate(several):
        surely = [
            place
            for place, other in enumerate(several)
            if other.baseline == one.baseline
            and other.metrics["macs"] > one.metrics["macs"]
            and other.metrics["latency_ms"] <= one.metrics["latency_ms"]
            and ends(other)[0] >= ends(one)[1]
        ]
        assert (at in found) == bool(surely)
        if surely:
            assert found[at] in surely
            assert ends(several[found[at]])[0] == max(ends(several[place])[0] for place in surely)


def test_equal_macs_are_no_fewer() -> None:
    assert not_faster([sped(5, 1, 2, None, "one"), sped(5, 2, 1, None, "one")]) == {}


def test_a_difference_within_the_intervals_is_none() -> None:
    assert not_faster([sped(6, 1, 2.0, 0.2, "one"), sped(5, 2, 1.7, 0.2, "one")]) == {}
    assert not_faster([sped(6, 1, 2.0, 0.1, "one"), sped(5, 2, 1.7, 0.1, "one")]) == {1: 0}


def test_numbers_in_a_row_are_written_as_a_span() -> None:
    assert spans([1, 2, 3, 5, 7, 8]) == "1-3, 5, 7-8"
    assert spans([4]) == "4"
    assert spans([]) == ""
