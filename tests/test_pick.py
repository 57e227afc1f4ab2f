"""pick.py as a user types it, and its parts on the runs of a real sweep."""

import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from hashlib import sha256
from math import inf
from pathlib import Path

import numpy as np
import pytest
import yaml
from command import run_here

from paredown.budget import Budget
from paredown.errors import BudgetError, ConfigError
from paredown.host.machine import cpu_name
from paredown.pick import Pick
from paredown.pick.candidates import Candidate, CandidateSet, gather
from paredown.pick.command import choose
from paredown.pick.remeasure import remeasure
from paredown.pick.walk import walk
from paredown.tracking import Tracking
from paredown.tracking.artifacts import find_sweep
from paredown.tracking.restore import RunRestorer
from paredown.tracking.tags import SWEEP
from paredown.tracking.tracker import Tracker
from paredown.trust import MOVED

ROOT = Path(__file__).parents[1]
ASKED = Pick(None, None, 0.0, False, None)


def pick(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Do in `folder` what pick.py does; test_pick_bundle.py starts it as a process."""
    return run_here(folder, *arguments, verb="pick")


@pytest.fixture(scope="module")
def tracker(swept: Path) -> Tracker:
    return Tracking(f"sqlite:///{swept}/mlruns/mlflow.db", "paredown", None, None).visit()


@pytest.fixture
def bench(tracker: Tracker, tmp_path: Path) -> RunRestorer:
    return RunRestorer(tracker, tmp_path)


@pytest.fixture
def field(tracker: Tracker) -> CandidateSet:
    return gather(tracker.finished(), cpu_name())


def the(field: CandidateSet, stage: str) -> Candidate:
    return next(candidate for candidate in field.candidates if candidate.stage == stage)


def test_the_sweep_s_files_are_candidates_once_each(tracker: Tracker, field: CandidateSet) -> None:
    stages = sorted(candidate.stage for candidate in field.candidates)
    assert stages == ["baseline", "distill", *["prune"] * 2, *["quantize"] * 2]
    runs = {run.id: run for run in tracker.finished()}
    for candidate in field.candidates:
        metrics = runs[candidate.run.id].metrics
        assert candidate.figures["size_mb"] == metrics[f"{candidate.stage}/size_mb"]
        assert candidate.figures["accuracy"] == metrics[f"{candidate.stage}/accuracy"]


BUDGETS = [
    Budget(None, 0.05, None),
    Budget(None, 1.0, None),
    Budget(0.2, None, None),
    Budget(None, None, 0.05),
    Budget(None, 0.05, 0.05),
    Budget(0.15, 0.1, 1.0),
]


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda budget: str(budget.limits))
def test_pick_chooses_what_a_brute_force_reading_of_the_runs_chooses(
    tracker: Tracker, field: CandidateSet, budget: Budget
) -> None:
    files: dict[str, dict[str, float]] = {}
    for run in tracker.finished():
        for stage in run.stages:
            names = ("accuracy", "size_mb", "latency_ms")
            metrics = {name: run.metrics[f"{stage}/{name}"] for name in names}
            files.setdefault(run.tags[f"{stage}/sha256"], metrics)  # the newest run's latency
    fitting = [
        (-file["accuracy"], file["size_mb"], digest)
        for digest, file in files.items()
        if file["accuracy"] >= (budget.accuracy or 0)
        and file["size_mb"] <= (budget.size_mb or inf)
        and file["latency_ms"] <= (budget.latency_ms or inf)
    ]
    index = walk([candidate.figures for candidate in field.candidates], budget).chosen
    chosen = [] if index is None else [field.candidates[index]]
    assert [
        (-one.figures["accuracy"], one.figures["size_mb"], one.sha256) for one in chosen
    ] == sorted(fitting)[:1]


def test_the_walk_is_printed_and_the_nearest_miss_of_each_limit_where_nothing_fits(
    field: CandidateSet, bench: RunRestorer, capsys: pytest.CaptureFixture[str]
) -> None:
    smallest = min(candidate.figures["size_mb"] for candidate in field.candidates)
    with pytest.raises(BudgetError, match=r"^nothing meets the budget; .* comes nearest") as error:
        choose(field, Budget(0.01, smallest / 2, None), ASKED, bench)
    assert error.value.code == 3
    told = capsys.readouterr().out
    assert "6 variants of 2 runs" in told
    assert f"{smallest / 2:.3f} MB" in told  # what the smallest misses by
    assert "budget.size_mb alone: budget.size_mb=" in told
    assert "budget.accuracy alone: no value of it is enough" in told
    loosened = float(told.split("alone: budget.size_mb=")[1].split(" ")[0])
    assert choose(field, Budget(0.01, loosened, None), ASKED, bench).figures["size_mb"] == smallest
    assert "►" in capsys.readouterr().out


def test_runs_of_another_machine_are_not_compared_but_can_be_timed_here(
    tracker: Tracker, bench: RunRestorer, capsys: pytest.CaptureFixture[str]
) -> None:
    field = gather(tracker.finished(), "a CPU that is not here")
    budget = Budget(None, 0.05, 1000.0)
    with pytest.raises(BudgetError):
        choose(field, budget, ASKED, bench)
    told = capsys.readouterr().out
    assert "ms not comparable" in told
    assert "pick.remeasure=true times it here" in told
    chosen = choose(field, budget, replace(ASKED, remeasure=True), bench)
    assert chosen.fresh
    assert chosen.figures["latency_ms"] < 1000
    assert chosen.figures["size_mb"] <= 0.05


def test_what_misses_another_limit_is_not_timed_again(
    field: CandidateSet, bench: RunRestorer
) -> None:
    budget = Budget(None, the(field, "prune").figures["size_mb"], 1000.0)
    timed = remeasure(field.candidates, budget, 0.0, bench)
    for candidate in timed:
        assert candidate.fresh == (candidate.figures["size_mb"] <= budget.size_mb)
        assert candidate.fresh or candidate.figures["latency_ms"] == inf


def test_a_sweep_is_found_by_its_folder_its_id_and_its_name(
    swept: Path, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(swept)
    found = find_sweep(tracker, "multirun/one", "pick.sweep").id
    assert len(tracker.finished(found)) == 2
    name = tracker.client.get_run(found).info.run_name
    assert {find_sweep(tracker, asked, "pick.sweep").id for asked in (found, name)} == {found}
    assert find_sweep(tracker, 1, "pick.sweep").id == found  # its name takes quotes in quotes
    told = r"^pick.sweep must be one of 1 \(prune.*, /.*/multirun/one\), got 'multirun/o'$"
    with pytest.raises(ConfigError, match=told):
        find_sweep(tracker, "multirun/o", "pick.sweep")


def test_a_data_set_that_no_run_is_of_is_refused_with_those_that_there_are(swept: Path) -> None:
    done = pick(swept, "budget.size_mb=9", "pick.dataset=digit", "pick.name=null")
    assert done.returncode == 2
    told = "pick.dataset must be one of digits, got 'digit'; did you mean digits?"
    assert done.stderr == f"error: {told}\n"
    asked = ("pick.dataset=digits", "pick.sweep=1", "pick.name=null", "pick.folder=of_digits")
    assert pick(swept, "budget.size_mb=9", *asked).returncode == 0


def test_sweeps_of_one_name_are_told_by_their_numbers_the_oldest_first(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracker = Tracking(uri, "paredown", parent=None, trial=None).connect()
    runs = [tracker.start("lab", tmp_path, tags={SWEEP: f"/sweeps/{name}"}) for name in "abc"]
    for run in runs:
        run.end("FINISHED")
    assert find_sweep(tracker, 1, "pick.sweep").id == runs[0].id
    assert find_sweep(tracker, "3", "pick.sweep").id == runs[2].id
    told = r"one of 1 \(lab, /sweeps/a\), 2 \(lab, /sweeps/b\), 3 \(lab, /sweeps/c\), got 'lab'$"
    with pytest.raises(ConfigError, match=told):
        find_sweep(tracker, "lab", "pick.sweep")


@contextmanager
def touched(file: Path) -> Iterator[Path]:
    """Give a file back as it was."""
    before = file.read_bytes()
    try:
        yield file
    finally:
        file.write_bytes(before)


def artifact(swept: Path, candidate: Candidate) -> Path:
    run_id, _, path = candidate.run.tags[f"{candidate.stage}/file"][6:].partition("/")
    return swept / "mlruns" / run_id / "artifacts" / path


def test_a_file_that_was_altered_is_refused(
    swept: Path, field: CandidateSet, bench: RunRestorer
) -> None:
    candidate = the(field, "prune")
    with touched(artifact(swept, candidate)) as file:
        file.write_bytes(file.read_bytes() + b" ")
        with pytest.raises(ConfigError, match=r"another sha256; run again: python run\.py"):
            bench.program(candidate)
    assert [path.name for path in bench.program(candidate).iterdir()] == ["model.onnx"]


def test_a_file_that_was_deleted_is_refused(
    swept: Path, field: CandidateSet, bench: RunRestorer
) -> None:
    candidate = the(field, "prune")
    with touched(artifact(swept, candidate)) as file:
        file.unlink()
        with pytest.raises(ConfigError, match=r"^prune/model.onnx of run .* must still be in"):
            bench.program(candidate)


def test_other_images_than_the_run_measured_are_refused(
    field: CandidateSet, bench: RunRestorer
) -> None:
    run = the(field, "prune").run
    assert len(bench.parts(run).dataset.test) > 300
    other = replace(run, tags={**run.tags, "dataset": "digits 0123"})
    with pytest.raises(
        ConfigError, match="must be digits 0123, as it was measured on, got 'digits"
    ):
        bench.parts(other)


def test_a_configuration_that_was_spoilt_is_refused(
    swept: Path, field: CandidateSet, bench: RunRestorer
) -> None:
    run = the(field, "prune").run
    with touched(swept / "mlruns" / run.id / "artifacts" / "config.yaml") as file:
        file.write_text("runtime: [")
        with pytest.raises(ConfigError, match=r"^config.yaml of run .* must be YAML, got"):
            bench.parts(run)


def test_a_sweep_that_the_version_before_logged_is_picked_and_timed_again(
    swept: Path, tracker: Tracker, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        for run in tracker.finished():
            file = swept / "mlruns" / run.id / "artifacts" / "config.yaml"
            stack.enter_context(touched(file))
            text = file.read_text()
            for old, new in MOVED.items():
                text = text.replace(f"_target_: {new}\n", f"_target_: {old}\n")
            assert text.count("paredown.timing.Timing") == 1
            file.write_text(text)
        arguments = ("budget.size_mb=0.05", "pick.remeasure=true", f"pick.folder={tmp_path}/bundle")
        done = pick(swept, *arguments)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bundle" / "model.onnx").is_file()


@pytest.mark.parametrize(("key", "gone"), [("measure", "timing.Watch"), ("runtime", "rt.Rt")])
def test_a_run_of_a_class_that_is_gone_is_refused_in_one_line_that_names_it(
    swept: Path, tracker: Tracker, tmp_path: Path, key: str, gone: str
) -> None:
    with ExitStack() as stack:
        for run in tracker.finished():
            file = swept / "mlruns" / run.id / "artifacts" / "config.yaml"
            stack.enter_context(touched(file))
            config = yaml.safe_load(file.read_text())
            config[key]["_target_"] = f"paredown.{gone}"
            file.write_text(yaml.dump(config))
        done = pick(swept, "budget.size_mb=0.05", f"pick.folder={tmp_path}/bundle")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"must name a class that exists, got paredown.{gone}: No module named" in done.stderr
    assert f"{key} of config.yaml of run" in done.stderr


BAD = [
    ((), "budget must have a limit, got none; set budget.size_mb"),
    (("budget.size_mb=-1",), "budget.size_mb must be above 0, got -1"),
    (("budget.latency_ms=nan",), "budget.latency_ms must be above 0, got nan"),
    (("budget.accuracy=nan",), "budget.accuracy must lie in [0, 1], got nan"),
    (("budget.accuracy=95",), "budget.accuracy must lie in [0, 1], got 95"),
    (("budget.size=1",), "did you mean budget.size_mb?"),
    (("pick.tolerence=1",), "did you mean pick.tolerance?"),
    (("+budget.speed=1",), "a name in budget must be one of accuracy, latency_ms, size_mb"),
    (("budget.size_mb=1", "pick.tolerance=1"), "pick.tolerance must lie in [0, 1), got 1"),
    (("budget.size_mb=1", "pick.remeasure=2"), "pick.remeasure must be true or false, got 2"),
    (("budget.size_mb=1", "pick.name=a/b"), "pick.name must be letters, digits"),
    (("budget.size_mb=1", "tracking.uri=sqlite:///no.db"), "must name a store that is there"),
    (("-m", "budget.size_mb=1,2"), "pick.py does one thing and takes no -m"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(bad[0]) for bad in BAD])
def test_bad_input_gets_one_line_and_exit_code_2_and_leaves_nothing(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = pick(tmp_path, *arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


def test_an_unknown_and_an_empty_experiment_are_refused_and_not_made(
    swept: Path, tracker: Tracker
) -> None:
    before = {found.name for found in tracker.client.search_experiments()}
    done = pick(swept, "budget.size_mb=1", "tracking.experiment=paredwon")
    assert done.returncode == 2
    assert done.stderr.endswith("got 'paredwon'; did you mean paredown?\n")
    empty = pick(swept, "budget.size_mb=1", "tracking.experiment=Default")
    assert empty.returncode == 2
    assert empty.stderr.startswith(
        "error: tracking.experiment must have finished runs to pick from"
    )
    assert empty.stderr.count("\n") == 1
    assert {found.name for found in tracker.client.search_experiments()} == before


def test_nothing_under_budget_ends_with_exit_code_3_and_no_bundle(swept: Path) -> None:
    done = pick(swept, "budget.size_mb=0.000001", "pick.folder=never")
    assert done.returncode == 3
    assert done.stderr.startswith("error: nothing meets the budget; cnn4-cnn4-prune")
    assert done.stderr.count("\n") == 1
    assert "6 variants of 2 runs" in done.stdout
    assert not (swept / "never").exists()


def test_help_shows_knobs_and_examples_without_heavy_imports(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", str(ROOT / "pick.py"), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    for text in ("budget.size_mb=1", "pick.tolerance=", "== Examples ==", "Exit codes"):
        assert text in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "mlflow", "numpy", "rich", "onnxruntime"}


@pytest.mark.slow
def test_runs_in_eager_pytorch_ship_nothing_and_are_left_out(tmp_path: Path) -> None:
    arguments = ("runtime=torch", "technique=baseline", "model=cnn4", "model.width=8",
                 "training.epochs=1", "measure.processes=1", "measure.rounds=1",
                 "measure.eager=false", "store.folder=off")  # fmt: skip
    done = run_here(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    done = pick(tmp_path, "budget.accuracy=0")
    assert done.returncode == 2
    assert "1 variants in runtime torch, 1 threads, whose files do not run" in done.stderr
    assert done.stderr.count("\n") == 1
    tracker = Tracking(f"sqlite:///{tmp_path}/mlruns/mlflow.db", "paredown", None, None).visit()
    candidate = gather(tracker.finished(), cpu_name()).candidates[0]
    shutil.rmtree(tmp_path / "multirun")
    program = RunRestorer(tracker, tmp_path).program(candidate)  # several files, each checked
    names = sorted(path.name for path in program.iterdir())
    assert names == ["architecture.json", "model.safetensors"]


def test_files_that_several_runs_keep_come_together_in_one_folder(
    tracker: Tracker, field: CandidateSet, tmp_path: Path
) -> None:
    """Two networks of one shape share OpenVINO's model.xml: the first run to have it keeps it."""
    run = field.candidates[0].run
    texts = {"early/model.xml": "the shape", "late/model.bin": "the weights"}
    for place, text in texts.items():
        tracker.client.log_text(run.id, text, place)
    tags = {
        "late/file": ",".join(f"runs:/{run.id}/{place}" for place in texts),
        "late/sha256": ",".join(sha256(text.encode()).hexdigest() for text in texts.values()),
    }
    candidate = Candidate(replace(run, tags={**run.tags, **tags}), "late", {}, tags["late/sha256"])
    program = RunRestorer(tracker, tmp_path).program(candidate)
    found = {path.name: path.read_text() for path in program.iterdir()}
    assert found == {"model.xml": "the shape", "model.bin": "the weights"}


@pytest.fixture(scope="module")
def registered(swept: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle = tmp_path_factory.mktemp("registered") / "bundle"
    done = pick(swept, "budget.size_mb=0.05", "pick.name=tiny", f"pick.folder={bundle}")
    assert done.returncode == 0, done.stderr
    assert "models:/tiny@deploy, version 1" in done.stdout
    return bundle


def test_the_registered_model_gives_the_same_logits_as_the_bundle(
    registered: Path, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    import onnxruntime

    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracker.uri)
    version = tracker.client.get_model_version_by_alias("tiny", "deploy")
    assert version.tags["budget.size_mb"] == "0.05"
    assert float(version.tags["test_accuracy"]) > 0
    assert float(version.tags["size_mb"]) <= 0.05
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's, about type hints of its own
        loaded = mlflow.pyfunc.load_model("models:/tiny@deploy")
    signature = loaded.metadata.signature
    assert [spec.name for spec in signature.inputs] == ["images"]
    assert [spec.shape for spec in signature.outputs] == [(-1, 10)]
    images = np.random.default_rng(0).random((5, 3, 32, 32), np.float32)
    session = onnxruntime.InferenceSession(str(registered / "model.onnx"))
    assert np.array_equal(loaded.predict({"images": images})["logits"],
                          session.run(None, {"images": images})[0])  # fmt: skip
