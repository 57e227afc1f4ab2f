"""The Pareto sweeper, on an instant Hydra app: space, resume, sharing, failing, refusing."""

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from command import call_main
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from hydra_plugins.paredown_sweeper._objectives import objectives_of
from hydra_plugins.paredown_sweeper._samplers import sampler
from hydra_plugins.paredown_sweeper._space import marks, parse, values_of
from hydra_plugins.paredown_sweeper._storage import where
from paredown.errors import ConfigError

ROOT = Path(__file__).parents[1]
APP = ROOT / "tests" / "tiny_app" / "app.py"
SPACE = ("x=interval(0.1,0.9)", "y=tag(log,interval(1,16))")
SWEEPER = "hydra/sweeper=pareto"


QUICK = "hydra.sweeper.sampler=tpe"  # auto imports torch


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a search in a process of its own."""
    command = [sys.executable, str(APP), "-m", SWEEPER, QUICK, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize("swept", ["model", "model.name", "runtime", "runtime.threads", "dataset"])
def test_a_search_whose_baseline_is_swept_compares_no_speed_ups(swept: str) -> None:
    names = ["prune.amount", "model@student", swept]
    assert objectives_of(None, names[:2])["speedup"] == "maximize"
    chosen = objectives_of(None, names)
    assert "speedup" not in chosen
    assert chosen["latency_ms"] == "minimize"
    asked = {"accuracy": "maximize", "speedup": "maximize"}
    assert objectives_of(asked, names[:2]) == asked
    with pytest.raises(ConfigError, match=f"latency_ms in the place of speedup where {swept} is"):
        objectives_of(asked, names)


def killed(folder: Path, *arguments: str, n: int = 12) -> None:
    """Start a search that kills itself in one of its jobs."""
    process = start(folder, f"hydra.sweeper.n_trials={n}", *arguments)
    _, err = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, err


def sweep(folder: Path, *arguments: str, n: int = 12) -> subprocess.CompletedProcess[str]:
    """Search here, as app.py does when it is called."""
    folder.mkdir(exist_ok=True)
    app = partial(runpy.run_path, str(APP), run_name="__main__")
    return call_main(app, folder, "-m", SWEEPER, QUICK, f"hydra.sweeper.n_trials={n}", *arguments)


def study_of(folder: Path):
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(folder / "sweep" / "study.journal")))
    return optuna.load_study(study_name="pareto", storage=storage)


def states(folder: Path) -> list[str]:
    return [trial.state.name for trial in study_of(folder).trials]


def points(folder: Path, only_front: bool = False) -> list[dict]:
    found = json.loads((folder / "sweep" / "front.json").read_text())["trials"]
    return [row["params"] for row in found if row["on_front"] or not only_front]


def started(folder: Path) -> list[str]:
    return (folder / "started").read_text().splitlines()


def space(*texts: str, **params: object):
    loader = ConfigLoaderImpl(create_config_search_path(f"file://{APP.parent / 'conf'}"))
    return parse(params, texts, loader)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("interval(0.1,0.8)", FloatDistribution(0.1, 0.8)),
        ("interval(1,16)", FloatDistribution(1, 16)),
        ("tag(log,interval(1,16))", FloatDistribution(1, 16, log=True)),
        ("int(interval(1,16))", IntDistribution(1, 16)),
        ("tag(log,int(interval(1,16)))", IntDistribution(1, 16, log=True)),
        ("choice(a,b)", CategoricalDistribution(["a", "b"])),
        ("0.1,0.5", CategoricalDistribution(["0.1", "0.5"])),
        ("true,false,null", CategoricalDistribution(["true", "false", "null"])),
        ("[1,2],[3]", CategoricalDistribution(["[1,2]", "[3]"])),
        ("range(1,8,2)", IntDistribution(1, 7, step=2)),
        ("range(0.1,0.5,0.1)", FloatDistribution(0.1, 0.4, step=0.1)),
    ],
)
def test_hydras_syntax_becomes_a_distribution(text: str, expected) -> None:
    assert space(f"x={text}").swept == {"x": expected}
    assert space(x=text).swept == {"x": expected}


def test_the_command_line_wins_over_params_and_fixed_values_stay() -> None:
    found = space("y=2", "+z=a b", "x=interval(0,1)", x="interval(5,6)", y="interval(1,2)")
    assert found.swept == {"x": FloatDistribution(0, 1)}
    assert found.overrides({"x": 0.25}) == ["x=0.25", "y=2", "+z=a b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("interval(0.8,0.1)", "low end is below its high end"),
        ("interval(1,1)", "low end is below its high end"),
        ("interval(0,nan)", "low end is below its high end"),
        ("tag(log,interval(0,1))", "above 0 to be searched on a log scale"),
        ("range(5,1)", "a range that holds a value"),
        ("3", "must name what to search"),
    ],
)
def test_a_range_that_holds_no_value_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        space(f"x={text}")


def test_auto_is_gp_while_trials_are_few_and_tpe_then() -> None:
    chosen = [type(sampler("auto", 0, slot)).__name__ for slot in (0, 47, 48)]
    assert chosen == ["GPSampler", "GPSampler", "TPESampler"]


def test_marks_are_the_ends_and_the_middle() -> None:
    assert marks(FloatDistribution(0.1, 0.8)) == pytest.approx([0.1, 0.45, 0.8])
    assert marks(FloatDistribution(1, 16, log=True)) == pytest.approx([1, 4, 16])
    assert marks(IntDistribution(1, 7, step=2)) == [1, 5, 7]
    assert marks(CategoricalDistribution(["a", "b", "c"])) == ["a", "b", "c"]


def test_a_stepped_range_has_round_values() -> None:
    assert values_of("x", FloatDistribution(0.1, 0.7, step=0.1)) == [
        0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7,
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="must be a list of values for a grid"):
        values_of("x", FloatDistribution(0.1, 0.7))


# nsga2 and random are seeded and asked as tpe is
@pytest.fixture(scope="module", params=["tpe", "gp", "qmc", "grid"])
def whole(request, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, tuple[str, ...]]:
    """An undisturbed search."""
    sampler, folder = request.param, tmp_path_factory.mktemp("whole")
    search = ("x=range(0.1,0.9,0.2)", "net=small,large") if sampler == "grid" else SPACE
    arguments = (*search, f"hydra.sweeper.sampler={sampler}")
    done = sweep(folder, *arguments, n=8)
    assert done.returncode == 0, done.stderr
    assert "the front:" in done.stdout
    assert "optuna-dashboard " in done.stdout
    return sampler, folder, arguments


def test_a_search_killed_in_a_trial_ends_as_an_undisturbed_one(whole, tmp_path: Path) -> None:
    sampler, straight, arguments = whole
    killed(tmp_path, *arguments, "die=5", n=8)
    kept = {path: path.read_bytes() for path in tmp_path.glob("sweep/*/result.json")}
    done = sweep(tmp_path, *arguments, "die=5", n=8)
    assert done.returncode == 0, done.stderr
    assert states(tmp_path) == ["COMPLETE"] * 5 + ["FAIL"] + ["COMPLETE"] * 3
    assert len(started(tmp_path)) == 8 + 1
    assert len(kept) == 5
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert points(tmp_path) == points(straight), sampler
    assert points(tmp_path, only_front=True) == points(straight, only_front=True)


def test_another_seed_searches_elsewhere(whole, tmp_path: Path) -> None:
    sampler, straight, arguments = whole
    assert sweep(tmp_path, *arguments, "hydra.sweeper.seed=1", n=8).returncode == 0
    same = points(tmp_path) == points(straight)
    assert same == (sampler == "grid")  # its order is Hydra's own


def test_the_same_command_does_only_what_is_missing(tmp_path: Path) -> None:
    assert sweep(tmp_path, *SPACE, n=3).returncode == 0
    assert sweep(tmp_path, *SPACE, n=3).returncode == 0
    assert states(tmp_path) == ["COMPLETE"] * 3
    assert sweep(tmp_path, *SPACE, n=5).returncode == 0
    assert [line.split()[0] for line in started(tmp_path)] == list("01234")


def test_a_job_that_finished_before_its_search_was_killed_is_not_done_again(
    tmp_path: Path,
) -> None:
    killed(tmp_path, *SPACE, "die=2", "hydra.sweeper.n_jobs=3")
    assert states(tmp_path) == ["RUNNING"] * 3
    assert sweep(tmp_path, *SPACE, "die=2", "hydra.sweeper.n_jobs=3", n=4).returncode == 0
    assert states(tmp_path) == ["FAIL"] * 3 + ["COMPLETE"] * 4
    lines = started(tmp_path)
    assert len(lines) == 3 + 2  # job 2 again, and the fourth
    assert lines[2].split()[1:] == lines[3].split()[1:]


def test_a_torn_last_line_is_cut(tmp_path: Path) -> None:
    assert sweep(tmp_path, *SPACE, n=2).returncode == 0
    journal = tmp_path / "sweep" / "study.journal"
    with journal.open("a") as file:
        file.write('{"op_code":5,"worker')
    assert sweep(tmp_path, *SPACE, n=3).returncode == 0
    assert states(tmp_path) == ["COMPLETE"] * 3


def test_two_processes_share_a_study(tmp_path: Path) -> None:
    arguments = (*SPACE, "slow=0.05", "hydra.sweeper.n_trials=12")
    both = [start(tmp_path, *arguments) for _ in range(2)]
    told = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert states(tmp_path) == ["COMPLETE"] * 12
    assert sorted(int(line.split()[0]) for line in started(tmp_path)) == list(range(12))
    assert len({line.split()[1] for line in started(tmp_path)}) == 12
    assert all("of 12 trials" in out for out, _ in told)


def test_nan_is_a_failed_trial_and_the_search_goes_on(tmp_path: Path) -> None:
    done = sweep(tmp_path, *SPACE, "nan=2", n=5)
    assert done.returncode == 0, done.stderr
    assert "trial 2 failed: accuracy is nan" in done.stdout
    assert states(tmp_path) == ["COMPLETE", "COMPLETE", "FAIL", *["COMPLETE"] * 3]


def test_too_many_failures_end_the_search_with_the_front_so_far(tmp_path: Path) -> None:
    done = sweep(tmp_path, *SPACE, "fail=3", "hydra.sweeper.max_failure_rate=0.2", n=10)
    assert done.returncode == 1
    assert "of 3 trials" in done.stdout
    assert "3 trials failed" in done.stderr
    assert "nothing works" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_trial_failing_has_an_empty_front(tmp_path: Path) -> None:
    done = sweep(tmp_path, *SPACE, "fail=0", n=4)
    assert done.returncode == 1
    assert "the front: 0 of 0 trials" in done.stdout


def test_a_budget_goes_to_optuna_and_bounds_the_front(tmp_path: Path) -> None:
    assert sweep(tmp_path, *SPACE, "budget.size_mb=2", n=10).returncode == 0
    trials = study_of(tmp_path).trials
    misses = [trial.constraints["size_mb"] for trial in trials]
    assert misses == pytest.approx([trial.values[1] - 2 for trial in trials])
    assert min(misses) <= 0 < max(misses)
    assert all(4 * (1 - point["x"]) <= 2 for point in points(tmp_path, only_front=True))


def test_a_trial_that_was_not_trained_is_infeasible_and_no_failure(tmp_path: Path) -> None:
    done = sweep(tmp_path, *SPACE, "gate=true", "budget.size_mb=2", n=10)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "sweep" / "front.json").read_text())
    left = [row["trial"] for row in found["trials"] if row["untrained"]]
    assert 0 < len(left) < 10
    assert all("accuracy" not in found["trials"][at]["metrics"] for at in left)
    assert not set(left) & set(found["front"])
    assert found["seconds_saved"] == pytest.approx(len(left) * 7.5)
    told = f"{len(left)} trials would miss the budget and were not trained: {left[0]}"
    assert told in " ".join(done.stdout.split())
    assert f"about {len(left) * 7.5:.0f} s saved" in done.stdout


def test_optuna_is_told_the_median_accuracy_of_the_trained_for_an_untrained_trial(
    tmp_path: Path,
) -> None:
    enqueue = "hydra.sweeper.enqueue=[{x: 0.7}, {x: 0.6}, {x: 0.9}, {x: 0.1}]"
    assert sweep(tmp_path, *SPACE, "gate=true", "budget.size_mb=2", enqueue, n=4).returncode == 0
    last = study_of(tmp_path).trials[-1]
    assert last.values[:2] == pytest.approx([1 - 0.7**2, 4 * 0.9])
    assert last.constraints == pytest.approx({"size_mb": 1.6})


def test_a_search_begins_with_the_configuration_s_own_values(tmp_path: Path) -> None:
    done = sweep(tmp_path, *SPACE, "net=choice(small,large)", "x=interval(0.1,0.5)", n=2)
    assert done.returncode == 0, done.stderr
    assert points(tmp_path)[0] == {"x": 0.5, "y": 1.0, "net": "small"}
    assert json.loads((tmp_path / "sweep" / "front.json").read_text())["default"] == 0


def test_own_values_outside_of_the_space_are_not_begun_with(tmp_path: Path) -> None:
    assert sweep(tmp_path, "x=interval(0.6,0.9)", n=1).returncode == 0
    assert json.loads((tmp_path / "sweep" / "front.json").read_text())["default"] is None


def test_importances_name_what_moves_an_objective(tmp_path: Path) -> None:
    assert sweep(tmp_path, *SPACE, n=16).returncode == 0
    found = json.loads((tmp_path / "sweep" / "front.json").read_text())["importances"]
    assert found["size_mb"]["x"] > 0.9  # y does not enter into it
    assert found["speedup"]["y"] > 0.5


def test_a_budget_that_nothing_meets_names_the_nearest_miss(tmp_path: Path) -> None:
    done = sweep(tmp_path, *SPACE, "budget.size_mb=0.1", n=4)
    assert "no trial meets the budget; trial" in done.stdout
    assert "comes nearest: size_mb" in done.stdout


def test_enqueued_points_come_first(tmp_path: Path) -> None:
    first = "hydra.sweeper.enqueue=[{x: 0.25, y: 2}, {x: 0.75}]"
    assert sweep(tmp_path, *SPACE, first, n=3).returncode == 0
    found = points(tmp_path)
    assert (found[0]["x"], found[0]["y"], found[1]["x"]) == (0.25, 2, 0.75)


def test_a_timeout_ends_with_the_front_so_far(tmp_path: Path) -> None:
    done = sweep(tmp_path, *SPACE, "slow=0.3", "hydra.sweeper.timeout=0.5", n=50)
    assert done.returncode == 0
    assert "the front:" in done.stdout
    assert len(states(tmp_path)) < 5


BAD = [
    (
        "hydra.sweeper.seed=4294967296",
        "hydra.sweeper.seed must lie in [0, 4294967296), got 4294967296",
    ),
    ("hydra.sweeper.seed=-1", "hydra.sweeper.seed must lie in [0, 4294967296), got -1"),
    ("hydra.sweeper.n_trials=0", "hydra.sweeper.n_trials must be at least 1, got 0"),
    ("hydra.sweeper.n_jobs=0", "hydra.sweeper.n_jobs must be at least 1, or null, got 0"),
    ("hydra.sweeper.timeout=0", "hydra.sweeper.timeout must be above 0 seconds, got 0"),
    ("hydra.sweeper.max_failure_rate=2", "hydra.sweeper.max_failure_rate must lie in [0, 1]"),
    ("hydra.sweeper.sampler=tpee", "did you mean tpe?"),
    ("hydra.sweeper.objectives={}", "objectives must name one to three metrics, got 0"),
    ("hydra.sweeper.objectives={accuracy:up}", "must be one of maximize, minimize, got 'up'"),
    ("hydra.sweeper.objectives={acuracy:maximize}", "did you mean accuracy?"),
    (
        "hydra.sweeper.objectives="
        "{accuracy:maximize,size_mb:minimize,params:minimize,macs:minimize}",
        "objectives must name one to three metrics, got 4",
    ),
    ("hydra.sweeper.enqueue=[{x: 5}]", "x must lie in [0.1, 0.9], got 5"),
    ("hydra.sweeper.enqueue=[{z: 5}]", "a name in hydra.sweeper.enqueue must be one of x, y"),
    ("hydra.sweeper.sampler=grid", "must be a list of values for a grid"),
    ("hydra.sweeper.storage=sqlite:///x.db", "be a postgresql:// URL"),
    ("z=interval(0,1)", "z is not a key of the configuration"),
    ("budget.accuracy=interval(0.5,1.5)", "budget.accuracy must lie in [0, 1], got 1.5"),
    ("hydra.sweeper.warm_start=true", "must be false where there is no tracking to read from"),
    ("net=choice(small,huge)", "net must be one of large, small"),
]


@pytest.mark.parametrize(("argument", "message"), BAD, ids=[argument for argument, _ in BAD])
def test_bad_input_is_refused_before_the_first_job(
    tmp_path: Path, argument: str, message: str
) -> None:
    done = sweep(tmp_path, *SPACE, argument)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "started").exists()


CHANGED = [
    (("x=interval(0.1,0.8)", SPACE[1]), "the space: x must stay"),
    ((SPACE[0], "y=2"), "the space: y must stay"),
    ((*SPACE, "hydra.sweeper.objectives={accuracy:maximize}"), "size_mb must stay minimize"),
    ((*SPACE, "net=large"), "the fixed overrides must stay [] in"),
    ((*SPACE, "budget.size_mb=2"), "budget: size_mb must stay out"),
]


@pytest.mark.parametrize(("arguments", "message"), CHANGED, ids=[m for _, m in CHANGED])
def test_another_search_in_the_same_folder_is_refused_with_the_difference(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    assert sweep(tmp_path, *SPACE, n=1).returncode == 0
    done = sweep(tmp_path, *arguments, n=2)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(started(tmp_path)) == 1


@pytest.mark.parametrize(
    "content", [b"hello\n", b'{"a": 1}\n', b"\xff\xfe\x00\n", b"half", b"[]\n"]
)
def test_a_foreign_study_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    journal = tmp_path / "sweep" / "study.journal"
    journal.parent.mkdir()
    journal.write_bytes(content)
    done = sweep(tmp_path, *SPACE)
    assert done.returncode == 2, done.stderr
    assert "must be a study of Optuna that can be read and written" in done.stderr
    assert "move it away" in done.stderr
    assert journal.read_bytes() == content


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    shown = where("postgresql://me:secret@host/study", tmp_path)
    assert shown == "postgresql://me:***@host/study"
    assert where(None, tmp_path) == str(tmp_path / "study.journal")


def test_an_interrupted_search_shows_the_front_so_far(tmp_path: Path) -> None:
    process = start(tmp_path, *SPACE, "slow=0.2")
    while not (tmp_path / "started").exists() or len(started(tmp_path)) < 3:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "of 2 trials" in out


def test_hydra_reads_the_sweeper_without_optuna(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", str(APP), "--info", "plugins"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert "ParetoSweeper" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "mlflow", "numpy", "optuna"}


def test_the_namespace_of_plugins_stays_open() -> None:
    assert not (ROOT / "src" / "hydra_plugins" / "__init__.py").exists()


def test_hydra_s_own_suites_pass_where_they_apply(tmp_path: Path) -> None:
    """In a process and a folder of their own: they set up logging and write where they stand."""
    suites = Path(__file__).with_name("hydra_suites.py")
    config = Path(__file__).parents[1] / "pyproject.toml"
    asked = [sys.executable, "-m", "pytest", "-c", str(config), "--rootdir", str(tmp_path)]
    done = subprocess.run(
        [*asked, str(suites)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
