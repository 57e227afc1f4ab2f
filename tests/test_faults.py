"""Faults that happen: each a real one, each ending with the table of an undisturbed run."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command import ROOT, SMALL, run_here, runs_of

pytestmark = pytest.mark.slow

RUN, FAULTY = ROOT / "run.py", ROOT / "tests" / "faulty.py"
HERE = (*SMALL, "store.folder=store", "hydra.run.dir=run")
STEADY = ("stage", "accuracy", "size_mb", "params", "macs", "sparsity")


def start(folder: Path, script: Path, *arguments: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    command = [sys.executable, str(script), *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True)


FAULTS = ("SIGKILL", "SIGTERM", "SIGINT", "MemoryError", "slow")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Do what run.py does here, or start faulty.py where the arguments begin with a fault."""
    if not arguments or arguments[0] not in FAULTS:
        return run_here(folder, *arguments, *HERE)
    return ended(start(folder, FAULTY, *arguments, *HERE))


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def table(folder: Path) -> list[dict[str, object]]:
    rows = json.loads((folder / "run" / "result.json").read_text())["rows"]
    return [{name: row[name] for name in STEADY} for row in rows]


def entries(folder: Path) -> dict[str, object]:
    """Every entry of a store with the sha256 of its files."""
    manifests = (folder / "store").glob("*/manifest.json")
    whole = (path for path in manifests if ".damaged" not in path.parent.name)
    return {path.parent.name: json.loads(path.read_text())["files"] for path in whole}


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("straight")
    done = run(folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def copied(straight: Path, tmp_path: Path) -> Path:
    """A store that an undisturbed run has filled, to be hurt."""
    shutil.copytree(straight / "store", tmp_path / "store")
    return tmp_path


def assert_as_straight(folder: Path, straight: Path) -> None:
    assert table(folder) == table(straight)
    assert entries(folder) == entries(straight)
    assert not list((folder / "store").glob(".*-*")), "half an entry was left"


@pytest.mark.parametrize("point", ["baseline", "prune", "calibration", "export", "manifest"])
def test_a_run_killed_anywhere_is_finished_by_the_same_command(
    tmp_path: Path, straight: Path, point: str
) -> None:
    assert run(tmp_path, "SIGKILL", point).returncode == -signal.SIGKILL
    kept = set(entries(tmp_path))
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert_as_straight(tmp_path, straight)
    assert kept <= set(entries(tmp_path))
    assert (
        len(kept)
        == {"baseline": 0, "prune": 4, "calibration": 6, "export": 1, "manifest": 0}[point]
    )
    assert [one.info.status for one in runs_of(tmp_path)] == ["KILLED", "FINISHED"]


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_an_interrupted_run_ends_as_killed_and_goes_on_later(
    tmp_path: Path, straight: Path, name: str, code: int
) -> None:
    done = run(tmp_path, name, "prune")
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.endswith("; the same command resumes from the store\n")
    assert [one.info.status for one in runs_of(tmp_path)] == ["KILLED"]
    assert run(tmp_path).returncode == 0
    assert_as_straight(tmp_path, straight)


@pytest.mark.parametrize(("what", "kept"), [("weights", 0), ("onnxruntime", 1), ("mlflow", 7)])
def test_a_full_disk_is_told_with_path_and_bytes_and_hurts_nothing(
    copied: Path, straight: Path, what: str, kept: int
) -> None:
    limit = 60_000  # bytes a file may have; the baseline's weights have 100,000
    shutil.rmtree(copied / "store")

    place = f"tracking.uri=sqlite:///{straight}/other/mlflow.db"
    code = f"""
import resource, runpy, sys
import onnx
from mlflow import MlflowClient
from paredown.store import local

def filled(inner):
    def full(*args):
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
        try:
            return inner(*args)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    return full

if {what!r} == "weights":
    local.Store.produce = filled(local.Store.produce)
if {what!r} == "onnxruntime":  # the weights are whole by then
    onnx.save = filled(onnx.save)
if {what!r} == "mlflow":
    MlflowClient.log_artifact = filled(MlflowClient.log_artifact)
sys.argv[0] = {str(RUN)!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    script = copied / "full.py"
    script.write_text(code)
    process = start(copied, script, *HERE, place)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 1, err
    assert "the disk is full after" in err
    assert str(copied / "store") in err
    assert "bytes" in err
    assert "Traceback" not in err
    before = entries(copied)
    assert len(before) == kept
    assert before.items() <= entries(straight).items()
    assert run(copied).returncode == 0
    assert_as_straight(copied, straight)


KINDS = (
    "model.safetensors",
    "architecture.json",
    "curves.json",
    "program/model.onnx",
    "measured.json",
    "manifest.json",
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("harm", ["flipped", "cut"])
def test_a_damaged_file_is_named_and_made_again(
    copied: Path, straight: Path, kind: str, harm: str
) -> None:
    for file in (copied / "store").glob(f"*/{kind}"):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 0x80
        file.write_bytes(content if harm == "flipped" else content[: len(content) // 2])
    done = run(copied)
    assert done.returncode == 0, done.stderr
    assert "set aside as" in done.stderr
    assert Path(kind).name in done.stderr
    assert_as_straight(copied, straight)


def test_a_store_that_cannot_be_written_is_read_and_told_once(copied: Path, straight: Path) -> None:
    store = copied / "store"
    for program in list(store.glob("*/program"))[:2]:
        shutil.rmtree(program.parent)
    for options in (["--bind", store, store], ["-o", "remount,ro,bind", store]):
        if subprocess.run(["mount", *options], check=False, capture_output=True).returncode:
            pytest.skip("a read-only folder needs the right to mount")
    try:
        before = sorted(store.rglob("*"))
        done = ended(start(copied, RUN, *HERE))  # which holds no file when the store is unmounted
        assert sorted(store.rglob("*")) == before
    finally:
        subprocess.run(["umount", store], check=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot be written; results are not kept") == 1
    assert table(copied) == table(straight)


def test_four_cold_processes_train_one_teacher(tmp_path: Path, straight: Path) -> None:
    others = [start(tmp_path, RUN, *HERE[:-1], f"hydra.run.dir=run{n}") for n in range(4)]
    told = [other.communicate(timeout=240) for other in others]
    assert [other.returncode for other in others] == [0] * 4, told
    finished = runs_of(tmp_path)
    assert [one.info.status for one in finished] == ["FINISHED"] * 4
    assert entries(tmp_path) == entries(straight)
    assert sum(err.count("another process is making it; waiting") for _, err in told) >= 3
    assert not any("duplicate column" in err or "already exists" in err for _, err in told)
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    assert client.search_runs(["0"]) == []


def test_a_lock_whose_owner_died_is_taken_over(tmp_path: Path, straight: Path) -> None:
    other = start(tmp_path, FAULTY, "slow", "baseline", *HERE)
    wait_for(tmp_path / "waiting")
    other.kill()
    other.communicate()
    assert list((tmp_path / "store").glob("*.lock"))
    assert run(tmp_path).returncode == 0
    assert_as_straight(tmp_path, straight)


def wait_for(path: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.05)


def test_a_server_that_cannot_be_reached_is_told_within_15_seconds(tmp_path: Path) -> None:
    with socket.socket() as silent:  # accepts, and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        for port in (silent.getsockname()[1], 9):
            before = time.monotonic()
            done = run(tmp_path, f"tracking.uri=http://127.0.0.1:{port}")
            took = time.monotonic() - before
            assert done.returncode == 2
            assert "tracking.uri must name a store that answers" in done.stderr
            assert done.stderr.count("\n") == 1
            assert took < 15 + 10  # imports and a busy machine aside
    assert not list(tmp_path.rglob("*.safetensors"))


@contextmanager
def server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1",
               "--port", str(port), "--backend-store-uri", f"sqlite:///{folder}/served.db",
               "--artifacts-destination", str(folder / "served")]  # fmt: skip
    with (folder / "server.log").open("a") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
        try:
            end = time.monotonic() + 90
            while time.monotonic() < end:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.2)
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_server_that_dies_midway_loses_nothing(tmp_path: Path, straight: Path) -> None:
    port = free_port()
    uri = f"tracking.uri=http://127.0.0.1:{port}"
    with server(tmp_path, port):
        job = start(tmp_path, FAULTY, "slow", "prune", *HERE, uri)
        wait_for(tmp_path / "waiting", 120)
    (tmp_path / "go").touch()
    out, err = job.communicate(timeout=240)
    assert job.returncode == 0, err
    assert err.count("does not answer; results stay on disk") == 1
    assert "python -m paredown.tracking.upload" in out
    assert_as_straight(tmp_path, straight)
    shutil.rmtree(tmp_path / "store")  # the upload needs the job's folder alone
    with server(tmp_path, port):
        sent = subprocess.run(
            [sys.executable, "-m", "paredown.tracking.upload", "run", f"http://127.0.0.1:{port}"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert sent.stdout == "1 runs uploaded\n", sent.stderr
        from mlflow import MlflowClient

        client = MlflowClient(f"http://127.0.0.1:{port}")
        experiment = client.get_experiment_by_name("paredown")
        (one,) = client.search_runs([experiment.experiment_id])
        assert one.info.status == "FINISHED"
        accuracy = table(straight)[-1]["accuracy"]
        assert one.data.metrics["quantize/accuracy"] == accuracy
        assert client.list_artifacts(one.info.run_id, "quantize")[0].path == "quantize/model.onnx"


def test_a_database_that_is_locked_for_half_a_minute_costs_only_the_wait(
    tmp_path: Path, straight: Path
) -> None:
    job = start(tmp_path, FAULTY, "slow", "prune", *HERE)
    wait_for(tmp_path / "waiting", 120)
    holder = sqlite3.connect(tmp_path / "mlruns" / "mlflow.db", check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(30, holder.rollback)
    release.start()
    (tmp_path / "go").touch()
    _, err = job.communicate(timeout=240)
    release.join()
    holder.close()
    assert job.returncode == 0, err
    assert "results stay on disk" not in err
    assert_as_straight(tmp_path, straight)
    (one,) = runs_of(tmp_path)
    assert one.info.status == "FINISHED"
    assert one.data.metrics["quantize/accuracy"] == table(straight)[-1]["accuracy"]


def test_a_job_without_memory_fails_alone(tmp_path: Path) -> None:
    sweep = ("-m", "technique=baseline,prune", "hydra.sweep.dir=sweep")
    done = run(tmp_path, "MemoryError", "prune", *sweep)
    assert done.returncode == 1
    assert "FAILED: no memory left" in done.stdout
    parent, first, second = (one.info.status for one in runs_of(tmp_path))
    assert (parent, first, second) == ("FAILED", "FINISHED", "FAILED")
    again = run(tmp_path, *sweep)
    assert again.returncode == 0, again.stderr
    assert "finished before" in again.stderr
    assert [one.info.status for one in runs_of(tmp_path)].count("FINISHED") == 3


def test_a_sweep_killed_in_the_middle_does_only_the_rest(tmp_path: Path) -> None:
    sweep = ("-m", "technique=baseline,prune", "hydra.sweep.dir=sweep")
    assert run(tmp_path, "SIGKILL", "prune", *sweep).returncode == -signal.SIGKILL
    done = run(tmp_path, *sweep)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("finished before") == 1
    found = [(one.info.status, one.info.run_name) for one in runs_of(tmp_path)]
    assert found == [
        ("FINISHED", "technique=baseline,prune"),
        ("FINISHED", "cnn4"),
        ("KILLED", "cnn4-prune0.50"),
        ("FINISHED", "cnn4-prune0.50"),
    ]


def test_an_interrupted_sweep_shows_what_was_done(tmp_path: Path) -> None:
    sweep = ("-m", "technique=baseline,prune", "hydra.sweep.dir=sweep")
    done = run(tmp_path, "SIGINT", "prune", *sweep)
    assert done.returncode == 130
    assert "the same command with hydra.sweep.dir=sweep does the rest" in done.stdout
    assert done.stdout.count("FINISHED") == 1
    assert [one.info.status for one in runs_of(tmp_path)] == ["KILLED", "FINISHED", "KILLED"]


@pytest.mark.parametrize("moment", [0.8, 1.6, 2.4, 3.2])
def test_a_first_run_killed_at_its_start_is_done_by_the_same_command(
    tmp_path: Path, moment: float
) -> None:
    """benchmarks/killed.py tries twenty moments."""
    first = start(tmp_path, RUN, *HERE, "technique=baseline")
    time.sleep(moment)
    first.kill()
    first.communicate()
    done = run(tmp_path, "technique=baseline")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "FINISHED"


NETWORK = """
import os, sys
from torch import nn

print("a line of the network's own")

class Net(nn.Sequential):
    def __init__(self, num_classes):
        END
        super().__init__(nn.Flatten(), nn.Linear(3072, num_classes))

    def forward(self, images):
        print("another")
        return super().forward(images)
"""


@pytest.mark.parametrize("end", ["sys.exit(0)", "os._exit(0)"])
def test_a_network_that_ends_the_process_is_refused(tmp_path: Path, end: str) -> None:
    (tmp_path / "net.py").write_text(NETWORK.replace("END", end))
    own = ("model=custom", "model.target=net.py:Net", "technique=baseline", "store.folder=store")
    process = start(tmp_path, RUN, *own)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 2, err
    assert err.startswith(
        "error: model.target must make a network of {}, got net.py:Net: SystemExit"
    )
    assert err.count("\n") == 1


def test_a_network_that_prints_is_measured(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NETWORK.replace("END", "pass"))
    small = ("training.epochs=1", "measure.processes=1", "measure.rounds=1", "hydra.run.dir=run")
    own = ("model=custom", "model.target=net.py:Net", "technique=baseline", "store.folder=store")
    process = start(tmp_path, RUN, *own, *small)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "FINISHED"
