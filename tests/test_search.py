"""The search on real runs: what it trains, what it leaves in MLflow, how it ends."""

import json
from pathlib import Path

import pytest
from command import SMALL, run_here, runs_of

SEARCH = ("-m", "experiment=pareto", "hydra.sweep.dir=multirun/one", *SMALL)
FEW = (*SEARCH, "hydra.sweeper.n_trials=3")


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("searched")
    done = run_here(folder, *FEW)
    assert done.returncode == 0, done.stderr
    assert "the front: " in done.stdout
    return folder


def found_in(folder: Path) -> dict:
    return json.loads((folder / "front.json").read_text())


def test_every_trial_is_a_child_run_with_its_number(searched: Path) -> None:
    parent, *children = runs_of(searched)
    assert [run.data.tags["trial"] for run in children] == ["0", "1", "2"]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    front = found_in(searched / "multirun/one")
    for run, row in zip(children, front["trials"], strict=True):
        assert run.data.metrics["quantize/size_mb"] == row["metrics"]["size_mb"]
        assert float(run.data.params["prune.amount"]) == row["params"]["prune.amount"]
    assert front["default"] == 0


def test_the_parent_carries_the_front_drawn(searched: Path) -> None:
    parent, *_ = runs_of(searched)
    front = found_in(searched / "multirun/one")
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["front"] == ",".join(map(str, front["front"]))
    assert parent.data.metrics["search/hypervolume"] == front["hypervolume"][-1]
    kept = searched / "mlruns" / parent.info.run_id / "artifacts"
    assert {file.name for file in kept.iterdir()} == {"front.json", "front.png", "front.html"}
    about = front["about"]
    assert (about["data"], about["technique"]) == ("digits", "distill, prune, quantize")
    assert about["made by"].startswith("python run.py -m ")
    assert "tracking." not in about["made by"]
    assert about["next"].startswith("python pick.py pick.sweep=multirun/one budget.size_mb=")
    page = (kept / "front.html").read_text()
    assert all(f"<dt>{name}</dt>" in page for name in about)


def test_a_warm_start_knows_the_trials_of_earlier_sweeps(searched: Path) -> None:
    asked = ("hydra.sweeper.warm_start=true", "hydra.sweeper.n_trials=1", "budget.size_mb=9")
    done = run_here(searched, *SEARCH, *asked, "hydra.sweep.dir=multirun/two")
    assert done.returncode == 0, done.stderr
    before, now = (found_in(searched / "multirun" / name)["trials"] for name in ("one", "two"))
    assert [row["job"] for row in now] == [None, None, None, 0]
    assert [row["metrics"]["accuracy"] for row in now[:3]] == [
        row["metrics"]["accuracy"] for row in before
    ]
    amounts = [row["params"]["prune.amount"] for row in now]
    assert amounts == [0.5, 0.1, 0.45, 0.8]  # of the points to start with, the one it had not
    other = ("distill.alpha=0.5", "hydra.sweep.dir=multirun/three", "training.batch_size=32")
    done = run_here(searched, *SEARCH, *asked, *other)
    assert done.returncode == 0, done.stderr
    assert len(found_in(searched / "multirun/three")["trials"]) == 1  # other fixed settings


def test_a_budget_that_nothing_meets_trains_nothing_and_ends_with_exit_code_3(
    tmp_path: Path,
) -> None:
    done = run_here(tmp_path, *FEW, "budget.size_mb=0.001")
    assert done.returncode == 3
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: no trial meets the budget; trial 0 comes nearest: size_mb 0.01")
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "store").iterdir())
    parent, *children = runs_of(tmp_path)
    assert [run.info.status for run in (parent, *children)] == ["FINISHED"] * 4
    assert all(run.data.tags["over_budget"].startswith("size_mb") for run in children)


def test_too_many_failures_end_the_parent_as_failed(tmp_path: Path) -> None:
    done = run_here(
        tmp_path, *FEW, "training.learning_rate=1e30", "hydra.sweeper.max_failure_rate=0"
    )
    assert done.returncode == 1
    assert "error: 1 trials failed, more than hydra.sweeper.max_failure_rate" in done.stderr
    assert [run.info.status for run in runs_of(tmp_path)] == ["FAILED", "FAILED"]


def test_ends_that_no_run_can_take_are_refused_before_the_first(tmp_path: Path) -> None:
    done = run_here(tmp_path, *FEW, "prune.amount=interval(0.1,1.5)")
    assert done.returncode == 2
    assert "error: prune.amount must lie in [0, 1), got 1.5" in done.stderr
    assert done.stderr.count("\n") == 1
