"""The commands as a user types them: bad input, help, one run, one sweep."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command import ROOT, SMALL, paredown, run_here, runs_of, without

BAD = [
    ("prune.amount=1.0", "prune.amount must lie in [0, 1), got 1.0"),
    ("runtime._target_=paredown.no.Net", "must name a class that exists, got paredown.no.Net: "),
    ("prune.amount=-0.1", "prune.amount must lie in [0, 1), got -0.1"),
    ("prune.amount=abc", "prune.amount must be a number or null, got 'abc'"),
    ("prune.amount=nan", "prune.amount must lie in [0, 1), got nan"),
    ("distill.temperature=0", "distill.temperature must be above 0, got 0"),
    ("distill.alpha=1.5", "distill.alpha must lie in [0, 1], got 1.5"),
    ("technique.stages=[prune,prun]", "did you mean prune?"),
    ("technique.stages=[quantize,prune]", "technique.stages must end with quantize"),
    ("technique.stages=[prune,distill]", "technique.stages must begin with distill"),
    ("technique.stages=[prune,prune]", "technique.stages must name each stage once"),
    ("technique.stages=prune", "technique.stages must be a list"),
    ("dataset=nope", "dataset must be one of arrays, cifar10, cifar100, digits"),
    ("model=nope", "model must be one of cnn4, custom, mobilenet_v2, resnet18, timm"),
    ("model@student=nope", "model must be one of cnn4, custom, mobilenet_v2, resnet18, timm"),
    ("prune.amont=0.3", "did you mean prune.amount?"),
    ("+prune.amont=0.3", "did you mean amount?"),
    ("training.epochs=-1", "training.epochs must be at least 0, got -1"),
    ("runtime.threads=0", "runtime.threads must be at least 1, got 0"),
    ("training.batch_size=100000", "must be at most the 1078 images of digits's train split"),
    ("training.learning_rate=0", "training.learning_rate must be above 0, got 0"),
    ("prune.round_to=0", "prune.round_to must be at least 1 channel, got 0"),
    ("prune.round_to=4096", "prune.round_to must be below 32, the channels of the widest layer"),
    ("prune.steps=0", "prune.steps must be at least 1, got 0"),
    ("prune.amount=null", "prune.amount must be given, or a prune.target, got None"),
    ("prune.target.macs=25%", "prune.amount must be null beside prune.target.macs, got 0.5"),
    ("prune.target.size=1", "did you mean prune.target.size_mb?"),
    ("+prune.target.size=1", "a name in prune.target must be one of"),
    ("prune.scope=all", "prune.scope must be one of global, isomorphic, local, got 'all'"),
    ("prune.rewind=99", "prune.rewind must be at most 1, the epochs of the training before"),
    ("prune.criterion.power=0", "prune.criterion.power must lie in (0, 100), got 0"),
    ("prune/criterion=nope", "prune/criterion must be one of bn_scale, fpgm, hessian, l1, l2"),
    ("seed=abc", "seed must be a whole number, got 'abc'"),
    ("hydra.run.dir=/proc/version/x", "/proc/version/x: Not a directory"),
    ("store.folder=/proc/version/x", "/proc/version/x: Not a directory"),
    ("tracking.uri=sqlite:////proc/version/x.db", "/proc/version"),
    ("tracking.uri=ftp://x", "tracking.uri must start with http"),
    ("runtime=torch", "got 'int8'; it has no static quantization; it has float32"),
    ("quantize.bits=0", "quantize.bits must be a whole number from 2 to 8, got 0"),
    ("quantize.bits=33", "quantize.bits must be a whole number from 2 to 8, got 33"),
    ("quantize.bits=2.5", "quantize.bits must be a whole number, got 2.5"),
    ("quantize.calibration_images=0", "quantize.calibration_images must be at least 1, got 0"),
    ("quantize.range=mini", "quantize.range must be one of"),
    ("quantize.keep_float=[O]", "must match one of the 5 layers, got 'O'; such as 0, 4, 8"),
    ("quantize.bias_correction=true", "it has no bias correction"),
    ("measure.processes=0", "measure.processes must be at least 1, got 0"),
    ("budget=1", "budget must be a node with a _target_, got 1"),
    ("budget.size_mb=-1", "budget.size_mb must be above 0, got -1"),
]


PROCESSES = {  # a kind of error each: of a value, of Hydra, of the images, and of the disk
    "prune.amount=1.0": "prune.amount must lie in [0, 1), got 1.0",
    "prune.amont=0.3": "did you mean prune.amount?",
    "model=nope": "model must be one of cnn4, custom, mobilenet_v2, resnet18, timm",
    "training.batch_size=100000": "must be at most the 1078 images of digits's train split",
    "store.folder=/proc/version/x": "/proc/version/x: Not a directory",
}


def assert_refused(done: subprocess.CompletedProcess[str], message: str, folder: Path) -> None:
    """Check for one line and exit code 2, and that nothing was made."""
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    left = {path.relative_to(folder).parts[0] for path in folder.rglob("*")}
    assert left <= {"mlruns", "store"}  # an empty database, an empty store where one is at fault
    assert not list(folder.rglob("*.safetensors")) + list(folder.rglob("*.onnx"))


@pytest.mark.parametrize("argument", PROCESSES)
def test_a_command_with_bad_input_ends_with_one_line_and_exit_code_2(
    tmp_path: Path, argument: str
) -> None:
    assert_refused(paredown(tmp_path, argument), PROCESSES[argument], tmp_path)


@pytest.mark.parametrize(("argument", "message"), BAD, ids=[argument for argument, _ in BAD])
def test_bad_input_gets_one_line_and_exit_code_2(
    tmp_path: Path, argument: str, message: str
) -> None:
    small = without(SMALL, argument.partition("=")[0])
    assert_refused(run_here(tmp_path, *small, argument), message, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("model.name=resnet19",), "model.name must be one of"),
        (
            (*SMALL, "prune.amount=null", "prune.target.params=1", "prune.target.macs=1"),
            "prune.target.params must be the only target, got 'macs beside it'",
        ),
        (
            (*SMALL, "prune.amount=null", "prune.target.params=10"),
            ", the smallest that prune.round_to=8 allows, got 10; a smaller round_to reaches",
        ),
        (
            (*SMALL, "prune/criterion=lamp", "prune.scope=local"),
            "prune.scope must be global or isomorphic for Lamp, got 'local'",
        ),
        (
            (*SMALL, "prune.steps=3", "prune.epochs=2"),
            "prune.epochs must be 0 or at least steps=3, one epoch per step, got 2",
        ),
    ],
)
def test_settings_that_cannot_go_together_get_one_line_and_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    assert_refused(run_here(tmp_path, *arguments), message, tmp_path)


def test_a_bad_value_in_a_sweep_is_refused_before_the_first_job(tmp_path: Path) -> None:
    done = run_here(tmp_path, "-m", "prune.amount=0.1,5,0.3", *SMALL)
    assert done.returncode == 2
    assert done.stderr == "error: prune.amount must lie in [0, 1), got 5; 0.05 is 5 %\n"
    assert not (tmp_path / "mlruns").exists()


def test_a_search_that_is_refused_promises_no_rest(tmp_path: Path) -> None:
    wrong = "hydra.sweeper.objectives=[accuracy]"
    done = run_here(tmp_path, "-m", "experiment=pareto", wrong, *SMALL)
    assert done.returncode == 2
    assert "must map metrics to maximize or minimize" in done.stderr
    assert "does the rest" not in done.stdout


def test_help_shows_groups_knobs_and_examples_without_heavy_imports(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", str(ROOT / "run.py"), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    for text in ("model: cnn4", "technique: baseline", "prune.amount=0.5", "== Examples =="):
        assert text in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "mlflow", "numpy", "optuna"}


STAGES = ("baseline", "distill", "prune", "quantize")
METRICS = (
    "accuracy",
    "size_mb",
    "latency_ms",
    "latency_ms_p95",
    "speedup",
    "params",
    "macs",
    "sparsity",
)


def test_a_sweep_logs_every_metric_of_every_stage_under_one_parent(swept: Path) -> None:
    parent, *children = runs_of(swept)
    assert parent.info.run_name.startswith("prune.amount=0.1,0.5")
    assert [run.info.status for run in (parent, *children)] == ["FINISHED"] * 3
    assert [run.info.run_name for run in children] == [
        "cnn4-cnn4-prune0.10-int8",
        "cnn4-cnn4-prune0.50-int8",
    ]
    for run in children:
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        wanted = {*METRICS, *(f"{stage}/{name}" for stage in STAGES for name in METRICS)}
        assert wanted <= run.data.metrics.keys()
        exact = run.data.metrics["quantize/accuracy"]
        assert run.data.metrics["accuracy"] == round(exact, 3)  # as far as 360 images tell
        assert run.data.tags["baseline"].startswith("cnn4, 0.")
        assert run.data.metrics["eager/latency_ms"] > 0
        assert run.data.params["student"] == "cnn4"
        assert float(run.data.params["prune.amount"]) in (0.1, 0.5)
    low, high = (run.data.metrics for run in children)
    assert all(low[name] > high[name] for name in ("size_mb", "params", "macs"))


def test_a_sweep_says_once_where_it_was_timed_and_leaves_a_picture(swept: Path) -> None:
    shown = (swept / "stdout").read_text()
    (where,) = [line for line in shown.splitlines() if line.startswith("where:")]
    assert not set("()'") & set(where.partition(" with ")[2])  # no Python in it
    parent, *_ = runs_of(swept)
    kept = swept / "mlruns" / parent.info.run_id / "artifacts"
    assert [file.name for file in kept.iterdir()] == ["sweep.png"]
    assert "sweep.png" in shown


def test_a_sweep_trains_its_teacher_and_student_once(swept: Path) -> None:
    entries = [json.loads(path.read_text()) for path in (swept / "store").glob("*/manifest.json")]
    made = [entry["about"]["stage"] for entry in entries if entry["about"]["kind"] == "weights"]
    assert sorted(made) == ["baseline", "distill", "prune", "prune"]


def test_a_sweep_keeps_an_early_stage_s_file_once_and_names_it_after(swept: Path) -> None:
    _, first, second = runs_of(swept)
    assert first.data.tags["baseline/file"] == second.data.tags["baseline/file"]
    assert first.info.run_id in second.data.tags["baseline/file"]
    kept = {path.parent.name for path in (swept / "mlruns" / second.info.run_id).rglob("*.onnx")}
    assert kept == {"prune", "quantize"}


def test_a_sweep_ends_with_one_table_of_all_jobs(swept: Path) -> None:
    table = (swept / "stdout").read_text().split("multirun/one\n")[-1]
    assert table.count("FINISHED") == 2
    assert "prune.amount=0.5" in table
    assert "tracking.parent" not in table


def test_every_file_alone_gives_the_accuracy_that_the_table_states(
    swept: Path, tmp_path: Path
) -> None:
    import numpy as np

    from paredown.dataset.digits import Digits

    digits = Digits(split_seed=0, crop=2).load()
    np.savez(tmp_path / "val", x=digits.normalize(digits.val.images), y=digits.val.labels)
    code = """
import sys, numpy as np, onnxruntime
data = np.load(sys.argv[1])
session = onnxruntime.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
logits = session.run(None, {"images": data["x"]})[0]
print((logits.argmax(1) == data["y"]).mean())
assert "torch" not in sys.modules and "paredown" not in sys.modules
"""
    last = runs_of(swept)[-1]
    for stage in STAGES:
        run_id, *path = last.data.tags[f"{stage}/file"].removeprefix("runs:/").split("/")
        file = swept.joinpath("mlruns", run_id, "artifacts", *path)
        command = [sys.executable, "-c", code, str(tmp_path / "val.npz"), str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert float(done.stdout) == pytest.approx(last.data.metrics[f"{stage}/accuracy"])
        size = last.data.metrics[f"{stage}/size_mb"]
        assert size == pytest.approx(file.stat().st_size / 1e6)


def test_a_failing_job_is_logged_and_the_others_finish(tmp_path: Path) -> None:
    done = paredown(tmp_path, "-m", "training.learning_rate=1e30,0.003", "technique=baseline",
                    "hydra.sweep.dir=multirun/one", *SMALL)  # fmt: skip
    assert done.returncode == 1
    assert "FAILED: baseline: the loss became" in done.stdout
    first = (tmp_path / "multirun/one/0/run.log").read_text()
    assert "Traceback" in first
    assert "lower training.learning_rate" in first
    parent, failed, finished = (run.info.status for run in runs_of(tmp_path))
    assert (parent, failed, finished) == ("FAILED", "FAILED", "FINISHED")


def test_the_same_seed_gives_the_same_accuracies_and_the_same_bytes(tmp_path: Path) -> None:
    tables, sums = [], []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        done = paredown(folder, "prune.amount=0.5", *SMALL)
        assert done.returncode == 0, done.stderr
        tables.append([line for line in done.stderr.splitlines() if "accuracy" in line])
        manifests = sorted((folder / "store").glob("*/manifest.json"))
        sums.append([json.loads(path.read_text())["files"] for path in manifests])
    assert len(tables[0]) == 4
    assert tables[0] == tables[1]
    assert sums[0] == sums[1]


def test_amount_0_changes_no_output_and_eager_pytorch_is_timed_where_it_is_asked_for(
    tmp_path: Path,
) -> None:
    done = run_here(tmp_path, "prune.amount=0", "technique.stages=[prune]", *SMALL)
    assert done.returncode == 0, done.stderr
    files = [path.read_bytes() for path in (tmp_path / "store").glob("*/program/model.onnx")]
    assert len(files) == 2
    assert files[0] == files[1]
    (run,) = runs_of(tmp_path)
    assert not [name for name in run.data.metrics if name.startswith("eager/")]


def test_a_file_that_would_miss_the_budget_is_refused_untrained_with_exit_code_3(
    tmp_path: Path,
) -> None:
    done = paredown(tmp_path, "budget.size_mb=0.001", *SMALL)
    assert done.returncode == 3
    assert "error: the file would miss the budget, so nothing was trained: size_mb" in done.stderr
    assert not list((tmp_path / "store").iterdir())
