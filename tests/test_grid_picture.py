"""The picture that a grid of jobs leaves in its parent run."""

from pathlib import Path

import pytest
from matplotlib.image import imread

from paredown.pictures.grid import Point, axis_of, grid_picture, lines_of
from paredown.report.grid import draw_grid

BASELINE = {"accuracy": 0.99, "size_mb": 4.0, "params": 9, "macs": 9, "speedup": 1.0}


def metrics(at: float) -> dict[str, float]:
    return {
        "accuracy": 0.9 - at / 10, "accuracy_low": 0.85 - at / 10, "accuracy_high": 0.92 - at / 10,
        "size_mb": 1 - at / 2, "speedup": 2 + at, "latency_ms": 0.3 - at / 10,
    }  # fmt: skip


def point(**settings: str) -> Point:
    named = {name.replace("_", "."): text for name, text in settings.items()}
    return Point(named, metrics(float(settings.get("prune_amount", 0))), BASELINE)


def job(number: int, *overrides: str, **changes: object) -> dict[str, object]:
    rows = [BASELINE, metrics(number / 10)]
    return {"number": number, "overrides": list(overrides), "status": "FINISHED", "rows": rows,
            **changes}  # fmt: skip


def test_the_number_with_the_most_values_goes_along_and_the_rest_makes_lines() -> None:
    points = [
        point(prune_amount=amount, model=model, seed=seed)
        for model in ("cnn4", "resnet18", "a", "b")
        for amount in ("0.7", "0.1", "0.3")
        for seed in ("0", "1")
    ]
    assert axis_of(points) == "prune.amount"
    lines = lines_of(points, "prune.amount")
    assert len(lines) == 8
    assert [place for place, _ in lines["model=cnn4 seed=1"]] == ["0.1", "0.3", "0.7"]


def test_seeds_are_lines_and_names_are_written_whatever_they_hold(tmp_path: Path) -> None:
    points = [
        point(technique_stages=stages, seed=seed)
        for stages in ("[distill,prune,$quantize]", "[$prune$\\frac,distill]\x1b")
        for seed in ("0", "1", "2")
    ]
    assert axis_of(points) == "technique.stages"
    assert grid_picture(points, "a$b", True, tmp_path / "sweep.png")


def test_names_are_drawn_in_the_order_of_their_jobs() -> None:
    points = [point(model=model) for model in ("resnet18", "cnn4")]
    assert axis_of(points) == "model"
    assert [place for place, _ in lines_of(points, "model")[""]] == ["resnet18", "cnn4"]


@pytest.mark.parametrize("swept", [("0.1", "0.3", "0.5"), ("l1", "lamp", "a_very_long_criterion")])
@pytest.mark.parametrize("one_baseline", [True, False])
def test_quality_size_and_speed_are_drawn(
    swept: tuple[str, ...], one_baseline: bool, tmp_path: Path
) -> None:
    points = [
        Point({"some.name": text}, metrics(at / 10), BASELINE) for at, text in enumerate(swept)
    ]
    assert grid_picture(points, "digits, cnn4", one_baseline, tmp_path / "sweep.png")
    image = imread(tmp_path / "sweep.png")[..., :3]
    third = image.shape[1] // 3
    for panel in range(3):
        part = image[:, panel * third : (panel + 1) * third]
        blue = (abs(part - (0x2F / 255, 0x7E / 255, 0xD8 / 255)) < 0.02).all(axis=2)
        assert blue.sum() > 50


def test_jobs_that_failed_are_left_out_and_one_job_makes_no_picture(tmp_path: Path) -> None:
    bad = job(2, "prune.amount=0.9", status="FAILED", error="no", rows=[])
    one = [job(0, "prune.amount=0.1"), bad]
    assert not draw_grid(one, {"dataset": "digits"}, tmp_path / "sweep.png")
    assert not (tmp_path / "sweep.png").exists()
    assert draw_grid([*one, job(1, "prune.amount=0.3")], {"dataset": "digits"},
                     tmp_path / "sweep.png")  # fmt: skip


def test_a_sweep_over_plain_groups_and_no_values_at_all_makes_none(tmp_path: Path) -> None:
    assert not draw_grid([job(0), job(1)], {}, tmp_path / "sweep.png")
    assert not draw_grid([], {}, tmp_path / "sweep.png")
