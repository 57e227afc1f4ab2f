import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from paredown.config import composed
from paredown.errors import ConfigError
from paredown.host.retry import retry_until
from paredown.report.command import run as report
from paredown.tracking import Tracking, as_params
from paredown.tracking.contact import connect, is_away
from paredown.tracking.run import UNSENT, Run, upload
from paredown.tracking.tracker import STARTED, Tracker, git_commit
from paredown.tracking.view import TAG, view

AWAY = "http://127.0.0.1:9"  # nobody answers there


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store of its own; MLflow takes seconds to make its tables, so the file's tests share it."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlruns')}/mlflow.db"


@pytest.fixture
def tracker(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tracker]:
    """An experiment of the test's own."""
    monkeypatch.chdir(tmp_path)
    return Tracking(uri, tmp_path.name, None, None).connect()


def status(tracker: Tracker, run_id: str) -> str:
    return tracker.client.get_run(run_id).info.status


@pytest.mark.parametrize(
    ("error", "expected"),
    [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED"), (SystemExit, "KILLED")],
)
def test_a_run_that_is_broken_off_says_how(
    tracker: Tracker, tmp_path: Path, error: type[BaseException], expected: str
) -> None:
    with pytest.raises(error), tracker.run("cnn4", tmp_path) as run:
        assert status(tracker, run.id) == "RUNNING"
        raise error
    assert status(tracker, run.id) == expected


def test_a_run_that_comes_to_its_end_is_finished_under_its_name_and_parent(
    tracker: Tracker, tmp_path: Path
) -> None:
    with tracker.run("sweep", tmp_path) as parent:
        with tracker.run("cnn4", tmp_path, parent.id, {"cpu": "some"}) as run:
            pass
        assert status(tracker, parent.id) == "RUNNING"
    assert status(tracker, run.id) == "FINISHED"
    kept = tracker.client.get_run(run.id)
    assert kept.info.run_name == "cnn4"
    assert kept.data.tags["mlflow.parentRunId"] == parent.id
    assert kept.data.tags["cpu"] == "some"


def test_what_is_logged_is_read_back(tracker: Tracker, tmp_path: Path) -> None:
    with tracker.run("cnn4", tmp_path) as run:
        run.log({"prune.amount": 0.5, "seed": 0}, {"accuracy": 0.75}, {"note": "text"})
    data = tracker.client.get_run(run.id).data
    assert data.params == {"prune.amount": "0.5", "seed": "0"}
    assert data.metrics == {"accuracy": 0.75}
    assert data.tags["note"] == "text"


def test_curves_are_logged_a_step_an_epoch_under_their_stage(
    tracker: Tracker, tmp_path: Path
) -> None:
    curves = [{"loss": 1 / epoch, "accuracy": epoch / 600} for epoch in range(1, 601)]
    with tracker.run("cnn4", tmp_path) as run:
        run.log_curves("train/distill", curves)  # more values than MLflow takes at once
    history = tracker.client.get_metric_history(run.id, "train/distill/loss")
    found = sorted((point.step, point.value) for point in history)
    assert found == [(epoch, 1 / epoch) for epoch in range(1, 601)]


def test_the_run_that_keeps_a_file_is_found_by_its_sha256(tracker: Tracker, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"weights")
    assert tracker.place_of("a" * 64) is None
    with tracker.run("cnn4", tmp_path) as run:
        place = run.keep(file, "prune", "a" * 64)
    assert tracker.place_of("a" * 64) == place == f"runs:/{run.id}/prune/model.onnx"
    assert tracker.place_of("b" * 64) is None
    kept = tracker.client.list_artifacts(run.id, "prune")
    assert [artifact.path for artifact in kept] == ["prune/model.onnx"]


def test_finished_jobs_are_listed_newest_first_with_everything_they_logged(
    tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paredown.tracking.reader.PAGE", 2)  # so that there is a second page
    with tracker.run("sweep", tmp_path) as sweep:
        for name in ("one", "two", "three"):
            with tracker.run(name, tmp_path, sweep.id, {"stages": "baseline,prune"}) as run:
                run.log({"seed": 0}, {"prune/accuracy": 0.5})
        with tracker.run("single", tmp_path, tags={"stages": "baseline"}):
            pass
        with pytest.raises(ValueError), tracker.run("bad", tmp_path, sweep.id, {"stages": "a"}):
            raise ValueError
    assert [job.name for job in tracker.finished()] == ["single", "three", "two", "one"]
    *_, one = found = tracker.finished(sweep.id)
    assert [job.name for job in found] == ["three", "two", "one"]
    assert (one.parent, one.stages) == (sweep.id, ("baseline", "prune"))
    assert (one.params["seed"], one.metrics["prune/accuracy"]) == ("0", 0.5)


def test_the_jobs_of_a_sweep_are_told_from_what_they_logged(
    tracker: Tracker, tmp_path: Path
) -> None:
    """As their result files would, which may lie on another machine."""
    parent = tracker.start("sweep", tmp_path)
    command = "python run.py prune.amount=0.3 'a=[1, 2]'"
    with tracker.run("good", tmp_path, parent.id, {"job": "1", "command": command}) as run:
        run.log(metrics={"baseline/accuracy": 0.5, "prune/accuracy": 0.25, "accuracy": 0.25})
        run.log(metrics={"eager/latency_ms": 2.0})
        run.log(tags={"stages": "baseline,prune", "prune/note": "shape unchanged"})
    told = {"job": "0", "command": "python run.py", "over_budget": "size_mb by 1 MB"}
    with tracker.run("over", tmp_path, parent.id, told):
        pass
    with pytest.raises(ValueError), tracker.run("bad", tmp_path, parent.id, {"job": "2"}):
        raise ValueError("no such thing\nat all")
    tracker.start("other", tmp_path, tags={"job": "3"})
    jobs = {job["number"]: job for job in tracker.jobs(parent.id)}
    assert sorted(jobs) == [0, 1, 2]
    assert jobs[0]["status"] == "OVER_BUDGET"
    assert jobs[0]["error"] == "size_mb by 1 MB"
    assert jobs[1]["overrides"] == ["prune.amount=0.3", "a=[1, 2]"]
    assert jobs[1]["rows"] == [
        {"stage": "baseline", "note": "", "accuracy": 0.5},
        {"stage": "prune", "note": "shape unchanged", "accuracy": 0.25},
    ]
    assert jobs[1]["eager"] == {"latency_ms": 2.0}
    assert (jobs[2]["status"], jobs[2]["error"]) == ("FAILED", "no such thing")


def test_artifacts_lie_beside_the_database(tracker: Tracker, uri: str, tmp_path: Path) -> None:
    with tracker.run("cnn4", tmp_path) as run:
        run.log_text("seed: 0\n", "config.yaml")
    files = Path(tracker.where(run)[0].removeprefix("files:").strip())
    assert files.is_relative_to(Path(uri.removeprefix("sqlite:///")).parent)
    assert (files / "config.yaml").read_text() == "seed: 0\n"


def test_a_run_left_by_a_process_that_died_is_closed_at_the_next_start(
    tracker: Tracker, uri: str, tmp_path: Path
) -> None:
    left, own = tracker.start("left", tmp_path), tracker.start("own", tmp_path)
    left.log(tags={STARTED: "0.00"})  # our pid, given away again since
    Tracking(uri, tmp_path.name, None, None).connect()
    assert (status(tracker, left.id), status(tracker, own.id)) == ("KILLED", "RUNNING")
    own.end("FINISHED")


def test_what_a_server_could_not_take_is_uploaded_later_in_full(
    tracker: Tracker, uri: str, tmp_path: Path
) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"weights")
    run = tracker.start("cnn4", tmp_path)
    down = Run(connect(AWAY), run.id, AWAY, tmp_path)
    down.log({"seed": 0}, {"accuracy": 0.75})
    down.log_curves("train/distill", [{"loss": 2.0}, {"loss": 1.0}])
    down.log_text("seed: 0\n", "config.yaml")
    down.keep(file, "prune", "a" * 64)
    down.end("FINISHED")
    file.unlink()  # the store was cleaned
    assert (upload(tmp_path, uri), upload(tmp_path, uri)) == (1, 0)  # it is back, elsewhere
    data = tracker.client.get_run(run.id).data
    assert (data.params, data.metrics["accuracy"]) == ({"seed": "0"}, 0.75)
    assert data.metrics["train/distill/loss"] == 1.0
    assert tracker.place_of("a" * 64) == f"runs:/{run.id}/prune/model.onnx"
    assert {kept.path for kept in tracker.client.list_artifacts(run.id)} == {"config.yaml", "prune"}
    assert status(tracker, run.id) == "FINISHED"


def left_unsent(tracker: Tracker, folder: Path) -> Path:
    """Leave a run's accuracy and end in a folder, as when the server was away."""
    folder.mkdir()
    run = tracker.start("cnn4", folder)
    down = Run(connect(AWAY), run.id, AWAY, folder)
    down.log(metrics={"accuracy": 0.75})
    down.end("FINISHED")
    return folder / UNSENT


def run_of(unsent: Path) -> str:
    return json.loads(unsent.read_text().splitlines()[0])["run_id"]


def test_a_line_that_was_cut_keeps_nothing_else_from_being_sent(
    tracker: Tracker, uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("0", "1", "2", "3"):
        left_unsent(tracker, tmp_path / name)
    cut, without = tmp_path / "0" / UNSENT, tmp_path / "1" / UNSENT
    first = run_of(cut)
    cut.write_text(cut.read_text() + '{"do": "log", "metr')
    without.write_text('{"do": "op')
    (tmp_path / "2" / UNSENT).write_text("")
    assert upload(tmp_path, uri) == 2
    assert tracker.client.get_run(first).data.metrics == {"accuracy": 0.75}
    assert status(tracker, first) == "FINISHED"
    assert f"{without} does not say whose run it is" in caplog.text
    assert without.exists()


def test_a_deleted_run_keeps_no_other_from_being_sent(
    tracker: Tracker, uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone, good = (left_unsent(tracker, tmp_path / name) for name in ("0", "1"))
    run_id, other = run_of(gone), run_of(good)
    tracker.client.delete_run(run_id)
    assert upload(tmp_path, uri) == 1
    assert status(tracker, other) == "FINISHED"
    assert f"run {run_id} was deleted in MLflow" in caplog.text
    tracker.client.restore_run(run_id)
    assert upload(tmp_path, uri) == 1


def test_a_server_that_is_still_away_is_told_in_one_line_and_nothing_is_lost(
    tracker: Tracker, uri: str, tmp_path: Path
) -> None:
    left = left_unsent(tracker, tmp_path / "0")
    with pytest.raises(ConfigError, match=rf"^{AWAY} must answer to take {left}, got"):
        upload(tmp_path, AWAY)
    assert upload(tmp_path, uri) == 1


def test_what_waits_in_a_folder_does_not_choose_the_server_that_it_is_sent_to(
    tracker: Tracker, uri: str, tmp_path: Path
) -> None:
    left = left_unsent(tracker, tmp_path / "0")
    opening, *rest = left.read_text().splitlines()
    theirs = json.dumps({**json.loads(opening), "uri": AWAY})
    left.write_text("\n".join([theirs, *rest, ""]))
    assert upload(tmp_path, uri) == 1


def delete_run(tracker: Tracker, run: Run) -> None:
    tracker.client.delete_run(run.id)


def delete_experiment(tracker: Tracker, run: Run) -> None:
    tracker.client.delete_experiment(tracker.experiment_id)


@pytest.mark.parametrize("delete", [delete_run, delete_experiment])
def test_what_a_run_that_is_deleted_meanwhile_logs_is_kept_and_told_in_one_line(
    tracker: Tracker, tmp_path: Path, caplog: pytest.LogCaptureFixture, delete: object
) -> None:
    file = tmp_path / "store" / "model.onnx"
    file.parent.mkdir()
    file.write_bytes(b"weights")
    folder = tmp_path / "job"
    with tracker.run("cnn4", folder) as run:
        delete(tracker, run)
        run.log(metrics={"accuracy": 0.75})
        run.keep(file, "prune", "a" * 64)
        run.log_text("seed: 0\n", "config.yaml")
    assert caplog.text.count("was deleted in MLflow; results stay in") == 1
    assert '"accuracy", 0.75' in (folder / UNSENT).read_text()
    assert (folder / "prune" / "model.onnx").read_bytes() == b"weights"
    assert any("paredown.tracking.upload" in line for line in tracker.where(run))


@pytest.mark.parametrize("folder", ["it's", 'a "b"', 'it\'s "b"', "a\\b", "plain", "50%_"])
def test_the_run_of_a_folder_is_found_whatever_its_name(
    tracker: Tracker, tmp_path: Path, folder: str
) -> None:
    with tracker.run("sweep", tmp_path, tags={"place": folder}) as run:
        pass
    with tracker.run("sweep", tmp_path, tags={"place": "x"}):
        pass
    found = tracker.reopen("place", folder, tmp_path)
    assert found is not None
    assert found.id == run.id
    assert tracker.reopen("place", f"{folder}'", tmp_path) is None


def test_connecting_again_finds_the_same_experiment(tracker: Tracker, uri: str) -> None:
    name = tracker.client.get_experiment(tracker.experiment_id).name
    assert Tracking(uri, name, None, None).connect().experiment_id == tracker.experiment_id


def test_a_deleted_experiment_is_refused(tracker: Tracker, uri: str) -> None:
    name = tracker.client.get_experiment(tracker.experiment_id).name
    tracker.client.delete_experiment(tracker.experiment_id)
    with pytest.raises(ConfigError, match=r"^tracking\.experiment must be one that is not deleted"):
        Tracking(uri, name, None, None).connect()


def test_a_server_that_does_not_answer_is_refused_within_seconds() -> None:
    start = time.perf_counter()
    with pytest.raises(ConfigError, match=r"^tracking\.uri must name a store that answers"):
        Tracking(AWAY, "paredown", None, None).connect()
    assert time.perf_counter() - start < 15


def test_a_job_of_a_sweep_waits_for_its_server(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answers = iter([MlflowException("connection refused"), OSError("reset"), "there"])

    def attempt() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert retry_until(attempt, is_away, "the tracking server") == "there"
    assert caplog.text.count("the tracking server does not answer (connection refused)") == 1
    refused = MlflowException("no", INVALID_PARAMETER_VALUE)
    with pytest.raises(MlflowException, match="no"):
        retry_until(lambda: (_ for _ in ()).throw(refused), is_away, "the tracking server")


def test_a_relative_sqlite_file_counts_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        Tracking("sqlite:///kept/a.db", "e", None, None).absolute_uri
        == f"sqlite:///{tmp_path}/kept/a.db"
    )
    absolute = f"sqlite:///{tmp_path}/a.db"
    assert Tracking(absolute, "e", None, None).absolute_uri == absolute
    assert Tracking("http://host:5000", "e", None, None).absolute_uri == "http://host:5000"


@pytest.mark.parametrize(
    ("uri", "experiment", "named"),
    [("mlruns", "e", "uri"), ("file:///mlruns", "e", "uri"), ("http://host", " ", "experiment")],
)
def test_a_place_that_cannot_be_logged_to_is_refused(uri: str, experiment: str, named: str) -> None:
    with pytest.raises(ConfigError, match=f"^{named} must"):
        Tracking(uri, experiment, None, None)


def test_there_is_no_commit_outside_a_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert git_commit() is None


def test_there_is_no_commit_where_git_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert git_commit() is None


def test_params_are_what_a_person_overrides_under_the_names_they_override() -> None:
    choices = {"model": "resnet18", "model@student": "mobilenet_v2", "experiment": None}
    nodes = {
        "seed": 0,
        "technique": {"stages": ["distill", "prune"]},
        "prune": {
            "_target_": "paredown.prune.structured.Structured",
            "amount": 0.5,
            "training": "${training}",
            "temperature": "${distill.temperature}",
        },
        "training": {"_target_": "paredown.training.Training", "threads": None, "deep": {"er": 1}},
    }
    assert as_params(choices, nodes) == {
        "model": "resnet18",
        "student": "mobilenet_v2",
        "seed": 0,
        "technique.stages": ["distill", "prune"],
        "prune.amount": 0.5,
        "training.threads": None,
        "training.deep.er": 1,
    }


def test_runs_are_found_by_a_tag_and_texts_by_their_name(tracker: Tracker, tmp_path: Path) -> None:
    with tracker.run("sweep", tmp_path, tags={"mark": "there"}) as run:
        run.log_text("some text", "note.txt")
    with tracker.run("other", tmp_path):
        pass
    (found,) = tracker.tagged("mark")
    assert (found.id, found.name, found.value) == (run.id, "sweep", "there")
    assert tracker.text(run.id, "note.txt") == "some text"
    assert tracker.text(run.id, "none.txt") is None


def test_an_experiment_of_whatever_origin_has_the_first_look(uri: str, tracker: Tracker) -> None:
    tracker.client.create_experiment("by hand")
    other = Tracking(uri, "by hand", None, None).connect()
    for each in (tracker, other):
        assert tracker.client.get_experiment(each.experiment_id).tags[TAG] == view()
        assert f"/experiments/{each.experiment_id}/" in each.compare()[-1]


def test_the_first_look_fits_in_a_tag() -> None:
    assert len(view()) < 5000


def test_the_first_look_shows_finished_jobs_and_what_they_are() -> None:
    shown = json.loads(view())
    assert shown["searchFilter"].startswith("attributes.status = 'FINISHED'")
    columns = shown["selectedColumns"]
    assert {"params.`dataset`", "params.`model`", "params.`technique`"} <= set(columns)
    beside = columns.index("metrics.`speedup`")  # a speed-up, and what it is against
    assert columns[beside + 1] == "tags.`baseline`"
    axes = [chart["xaxis"]["key"] for chart in shown["compareRunCharts"]]
    assert axes == ["size_mb", "latency_ms"]


def test_an_older_first_look_is_replaced(uri: str, tracker: Tracker) -> None:
    tracker.client.set_experiment_tag(tracker.experiment_id, TAG, "{}")
    Tracking(uri, tracker.client.get_experiment(tracker.experiment_id).name, None, None).connect()
    assert tracker.client.get_experiment(tracker.experiment_id).tags[TAG] == view()


def finish(tracker: Tracker, folder: Path, name: str, **figures: float) -> Run:
    """Log a job of one stage."""
    plain = dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high", "sparsity"), 0.5)
    plain |= {"size_mb": 1.0, "latency_ms": 2.0, "latency_ms_p95": 3.0, "speedup": 1.0}
    plain |= {"params": 10.0, "macs": 100.0, **figures}
    with tracker.run(name, folder, tags={"stages": "baseline"}) as run:
        run.log(metrics={**plain, **{f"baseline/{key}": each for key, each in plain.items()}})
        run.log(metrics={"train/baseline/loss": math.inf})
        layers = {"conv": {"channels": 4, "macs": 100}}
        run.log_text(json.dumps({"baseline": layers}), "layers.json")
    return run


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("by", ["tables", "api"])
def test_a_run_whose_figures_are_no_numbers_is_left_out_and_told(
    tracker: Tracker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    value: float,
    by: str,
) -> None:
    if by == "api":
        monkeypatch.setattr("paredown.tracking.reader.read_tables", lambda *_: None)
    finish(tracker, tmp_path, "good")
    bad = finish(tracker, tmp_path, "bad", latency_ms=value)
    assert [job.name for job in tracker.finished()] == ["good"]
    assert f"run bad ({bad.id}) is left out: its " in caplog.text


def test_a_report_leaves_out_what_cannot_be_read_and_goes_on(
    tracker: Tracker, uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    finish(tracker, tmp_path, "good")
    cut = finish(tracker, tmp_path, "cut")
    cut.log_text('{"baseline": {"co', "layers.json")
    finish(tracker, tmp_path, "bad", speedup=math.inf)
    name = tracker.client.get_experiment(tracker.experiment_id).name
    where = (f"tracking.uri={uri}", f"tracking.experiment={name}", f"report.folder={tmp_path}/out")
    report(composed(*where, primary="report"))
    text = (tmp_path / "out" / "report.md").read_text()
    assert "2 runs of experiment" in text
    assert "the widths of run 2 (cut) are left out: its layers.json cannot be read" in caplog.text
