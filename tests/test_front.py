import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paredown.budget import Budget
from paredown.errors import ConfigError
from paredown.front import front, hypervolume

NAMES = ("accuracy", "size_mb", "speedup")
GRID = 6


@st.composite
def studies(draw, sizes=(1, 2, 3), most=12):
    """Points on a small integer grid, so that ties and domination are common."""
    names = NAMES[: draw(st.sampled_from(sizes))]
    directions = st.sampled_from(["maximize", "minimize"])
    objectives = {name: draw(directions) for name in names}
    point = st.fixed_dictionaries({name: st.integers(0, GRID) for name in names})
    return draw(st.lists(point, max_size=most)), objectives


def better(one, other, direction):
    return one > other if direction == "maximize" else one < other


def dominates(one, other, objectives):
    worse = any(better(other[name], one[name], way) for name, way in objectives.items())
    return not worse and any(
        better(one[name], other[name], way) for name, way in objectives.items()
    )


@given(studies())
def test_the_front_is_what_nothing_dominates_each_value_once(study) -> None:
    points, objectives = study
    expected = [
        index
        for index, point in enumerate(points)
        if not any(dominates(other, point, objectives) for other in points)
        and point not in points[:index]
    ]
    assert front(points, objectives) == expected


@given(studies(sizes=(1, 2, 3)))
@settings(deadline=None)
def test_the_hypervolume_is_the_number_of_grid_cells_that_a_point_dominates(study) -> None:
    points, objectives = study
    reference = {name: 0 if way == "maximize" else GRID for name, way in objectives.items()}

    def reaches(point, cell) -> bool:
        """Whether the unit cell [c, c + 1] lies between the point and the reference."""
        return all(
            c + 1 <= point[name] if way == "maximize" else c >= point[name]
            for c, (name, way) in zip(cell, objectives.items(), strict=True)
        )

    cells = itertools.product(range(GRID), repeat=len(objectives))
    covered = sum(any(reaches(point, cell) for point in points) for cell in cells)
    assert hypervolume(points, objectives, reference) == pytest.approx(covered)


@given(studies())
def test_dominated_points_add_no_hypervolume(study) -> None:
    points, objectives = study
    reference = {name: 0 if way == "maximize" else GRID for name, way in objectives.items()}
    kept = [points[index] for index in front(points, objectives)]
    whole = hypervolume(points, objectives, reference)
    assert hypervolume(kept, objectives, reference) == pytest.approx(whole)


def test_two_points_in_two_objectives_by_hand() -> None:
    objectives = {"accuracy": "maximize", "size_mb": "minimize"}
    points = [{"accuracy": 0.9, "size_mb": 2.0}, {"accuracy": 0.5, "size_mb": 1.0}]
    reference = {"accuracy": 0.0, "size_mb": 4.0}
    assert front(points, objectives) == [0, 1]
    assert hypervolume(points, objectives, reference) == pytest.approx(0.9 * 2 + 0.5 * 1)


def test_a_budget_says_how_much_each_limit_is_missed() -> None:
    budget = Budget(accuracy=0.9, size_mb=1.0, latency_ms=None)
    small = {"accuracy": 0.85, "size_mb": 0.5, "latency_ms": 9.0}
    large = {"accuracy": 0.95, "size_mb": 3.0, "latency_ms": 9.0}
    assert budget.misses(small) == pytest.approx({"accuracy": 0.05, "size_mb": -0.5})
    assert not budget.meets(small)
    assert budget.meets({"accuracy": 0.9, "size_mb": 1.0})
    assert budget.nearest([large, small]) == 1  # 0.05 of 0.9 is less than 2 of 1
    assert Budget(None, None, None).meets({})


def test_a_limit_on_what_was_not_measured_is_left_out() -> None:
    budget = Budget(accuracy=0.9, size_mb=1.0, latency_ms=2.0)
    assert budget.misses({"size_mb": 3.0}) == pytest.approx({"size_mb": 2.0})
    assert budget.complaint({"size_mb": 3.0, "latency_ms": 2.0}) == "size_mb 3 for 1"
    assert budget.complaint({"accuracy": 0.9}) == ""


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((1.5, None, None), "accuracy must lie in"),
        ((None, 0.0, None), "size_mb must be above 0"),
        ((None, None, float("nan")), "latency_ms must be above 0"),
    ],
)
def test_a_budget_out_of_range_is_refused(values, message) -> None:
    with pytest.raises(ConfigError, match=message):
        Budget(*values)
