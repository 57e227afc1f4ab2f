"""Sweeps beyond one process: launchers, servers that are really started, and what is killed."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest
from command import ROOT, SMALL, paredown, run_here, runs_of
from servers import MLflowServer, PostgreSQL

from paredown.errors import ConfigError
from paredown.sweep import callback as sweep_module
from paredown.tracking import Tracking

pytestmark = pytest.mark.slow

GRID = "prune.amount=0.1,0.3,0.5,0.7"
SEARCH = (
    "hydra/sweeper=pareto",
    "hydra.sweeper.sampler=random",
    "hydra.sweeper.n_trials=8",
    "prune.amount=interval(0.1,0.7)",
)
LAUNCHERS = ("joblib", "ray", "submitit_local")


@pytest.fixture(scope="module")
def database() -> Iterator[PostgreSQL]:
    """Outside of pytest's folders: another session of pytest would lock its user out of them."""
    with TemporaryDirectory(prefix="postgresql-") as folder:
        started = PostgreSQL(Path(folder))
        yield started
        started.stop()


@pytest.fixture(scope="module")
def server(
    database: PostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MLflowServer]:
    started = MLflowServer(database.url, tmp_path_factory.mktemp("mlflow"))
    yield started
    started.stop()


class Sweep:
    """A sweep with a store, an experiment and a study of its own."""

    def __init__(self, folder: Path, server: MLflowServer, launcher: str, *arguments: str) -> None:
        pytest.importorskip(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher")
        self.folder, self._server = folder, server
        self._command = [
            *(sys.executable, str(ROOT / "run.py"), "-m", f"hydra/launcher={launcher}", *SMALL),
            *(f"store.folder={folder}/store", f"hydra.sweep.dir={folder}/sweep"),
            *(f"tracking.uri={server.url}", f"tracking.experiment={folder.name}", *arguments),
        ]
        self.start()

    def start(self) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            self._command, cwd=self.folder, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )

    def end(self) -> str:
        out, _ = self.process.communicate(timeout=400)
        assert self.process.returncode == 0, out
        return out

    def wait_for(self, count: int) -> None:
        """Wait until so many jobs have left their result."""
        while len(list(self.folder.glob("sweep/*/result.json"))) < count:
            assert self.process.poll() is None, self.process.stdout.read()
            time.sleep(0.05)

    def wait_for_a_job_after(self, count: int) -> None:
        """Wait until so many jobs are done and the next has begun, which goes on for seconds."""
        self.wait_for(count)
        while len(list(self.folder.glob("sweep/*/.hydra"))) <= count:
            assert self.process.poll() is None, self.process.stdout.read()
            time.sleep(0.05)

    def counted(self) -> tuple[int, int, int, int]:
        """Count finished jobs in MLflow, their amounts, their numbers, and trained teachers."""
        from mlflow import MlflowClient

        client = MlflowClient(self._server.url)
        (experiment,) = client.search_experiments(filter_string=f"name = '{self.folder.name}'")
        runs = client.search_runs([experiment.experiment_id], max_results=100)
        (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
        children = [run for run in runs if run is not parent and run.info.status == "FINISHED"]
        assert parent.info.status == "FINISHED"
        assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
        for run in children:
            assert {"baseline/accuracy", "speedup", "size_mb"} <= run.data.metrics.keys()
            assert [file.path for file in client.list_artifacts(run.info.run_id, "quantize")]
        amounts = {run.data.params["prune.amount"] for run in children}
        numbers = {run.data.tags["job"] for run in children}
        return len(children), len(amounts), len(numbers), self.trained()

    def trained(self) -> int:
        """Count how often a teacher was trained."""
        logs = (file.read_text() for file in self.folder.glob("sweep/*/run.log"))
        return sum(text.count("baseline: 1 epochs in") for text in logs)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], object]]:
    """A Ray cluster whose two nodes have a core each; skipped where Ray is not installed."""
    monkeypatch.setenv("RAY_worker_niceness", "0")  # 15 starves beside any other work
    utils = pytest.importorskip("ray.cluster_utils")
    made = []

    def start() -> object:
        made.append(utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1}))
        made[0].add_node(num_cpus=1)
        return made[0]

    yield start
    for each in made:
        each.shutdown()


def settings(launcher: str, cluster: Callable[[], object]) -> list[str]:
    if launcher != "ray":
        return []
    node = "hydra.launcher.ray"
    return [f"{node}.init.address={cluster().address}", f"{node}.remote.num_cpus=1"]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_grid_of_four_finishes_on_every_launcher(
    tmp_path: Path, server: MLflowServer, launcher: str, cluster: Callable[[], object]
) -> None:
    sweep = Sweep(tmp_path, server, launcher, GRID, *settings(launcher, cluster))
    out = sweep.end()
    assert out.count("FINISHED") == 4
    assert sweep.counted() == (4, 4, 4, 1)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_search_of_eight_with_its_study_in_postgresql_finishes_on_every_launcher(
    tmp_path: Path,
    server: MLflowServer,
    database: PostgreSQL,
    launcher: str,
    cluster: Callable[[], object],
) -> None:
    storage = f"hydra.sweeper.storage={database.studies}"
    sweep = Sweep(tmp_path, server, launcher, *SEARCH, storage, *settings(launcher, cluster))
    out = sweep.end()
    assert "not-a-secret" not in out
    assert sweep.counted() == (8, 8, 8, 1)
    found = json.loads((tmp_path / "sweep" / "front.json").read_text())
    assert [trial["trial"] for trial in found["trials"]] == list(range(8))


def kill_a_worker(process: subprocess.Popen[str]) -> None:
    """Kill a process of joblib's pool, one that does a job."""
    below = psutil.Process(process.pid).children(recursive=True)
    workers = [each for each in below if any("loky" in word for word in each.cmdline())]
    max(workers, key=lambda each: each.memory_info().rss).send_signal(signal.SIGKILL)


def test_a_search_goes_on_when_a_worker_is_killed(
    tmp_path: Path, server: MLflowServer, database: PostgreSQL
) -> None:
    storage = f"hydra.sweeper.storage={database.studies}"
    sweep = Sweep(tmp_path, server, "joblib", *SEARCH, storage)
    sweep.wait_for_a_job_after(4)  # one killed as it ends would stand in MLflow, and be done again
    kill_a_worker(sweep.process)
    assert "a worker died" in sweep.end()
    assert sweep.counted() == (8, 8, 8, 1)


def test_a_grid_whose_worker_was_killed_is_completed_by_the_same_command(
    tmp_path: Path, server: MLflowServer
) -> None:
    sweep = Sweep(tmp_path, server, "joblib", GRID)
    sweep.wait_for_a_job_after(2)
    kill_a_worker(sweep.process)
    out, _ = sweep.process.communicate(timeout=400)
    assert sweep.process.returncode == 1
    assert "error: a worker of the launcher died" in out
    assert "Traceback" not in out
    sweep.start()
    sweep.end()
    assert sweep.counted() == (4, 4, 4, 1)


def test_a_grid_outlives_a_restart_of_the_tracking_server(
    tmp_path: Path, server: MLflowServer
) -> None:
    sweep = Sweep(tmp_path, server, "joblib", GRID)
    sweep.wait_for(1)
    server.stop()
    time.sleep(5)
    server.start()
    sweep.end()
    assert sweep.counted() == (4, 4, 4, 1)


def test_a_search_outlives_a_restart_of_the_database_below_it(
    tmp_path: Path, server: MLflowServer, database: PostgreSQL
) -> None:
    storage = f"hydra.sweeper.storage={database.studies}"
    sweep = Sweep(tmp_path, server, "joblib", *SEARCH, storage)
    sweep.wait_for(2)
    database.stop()
    time.sleep(5)
    database.start()
    sweep.end()
    assert sweep.counted() == (8, 8, 8, 1)


def test_a_grid_outlives_the_loss_of_a_ray_node(
    tmp_path: Path, server: MLflowServer, cluster: Callable[[], object]
) -> None:
    pytest.importorskip("ray")
    started = cluster()
    node = "hydra.launcher.ray"
    asked = [f"{node}.init.address={started.address}", f"{node}.remote.num_cpus=1"]
    sweep = Sweep(tmp_path, server, "ray", GRID, *asked)
    sweep.wait_for(1)
    (lost,) = started.worker_nodes
    started.remove_node(lost, allow_graceful=False)
    sweep.end()
    assert sweep.counted() == (4, 4, 4, 1)


def test_a_worker_of_another_version_refuses(tmp_path: Path) -> None:
    done = run_here(tmp_path, *SMALL, "tracking.version=0.0.1-0123")
    assert done.returncode == 2
    assert done.stderr.startswith("error: tracking.version must be that of this worker, ")
    assert "install the same Paredown" in done.stderr


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (("not-a-secret", "wrong"), "password authentication failed"),
        (("/studies", "/nowhere"), "createdb nowhere makes it"),
    ],
    ids=["password", "database"],
)
@pytest.mark.parametrize("key", ["tracking.uri", "hydra.sweeper.storage"])
def test_a_database_that_refuses_is_told_in_a_line(
    tmp_path: Path, database: PostgreSQL, key: str, url: tuple[str, str], told: str
) -> None:
    asked = [f"{key}={database.studies.replace(*url)}"]
    if "storage" in key:
        asked = ["-m", *SEARCH, *asked]
    done = run_here(tmp_path, *asked, *SMALL)
    assert done.returncode == 2, done.stderr
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("error: ")]
    assert told in line
    assert "wrong" not in line
    assert "not-a-secret" not in line


def test_a_database_of_another_mlflow_is_told_the_command(
    tmp_path: Path, database: PostgreSQL
) -> None:
    import psycopg

    empty = database.url.replace("/postgres", "/old")
    with psycopg.connect(database.url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("create database old")
    Tracking(empty, "paredown", None, None).connect()  # makes the tables
    with psycopg.connect(empty.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("update alembic_version set version_num = '451aebb31d03'")
    done = paredown(tmp_path, *SMALL, f"tracking.uri={empty}")  # which has not seen it before
    assert done.returncode == 2
    assert "mlflow db upgrade" in done.stderr


def test_a_server_with_a_log_in_takes_runs_of_whoever_knows_the_password(
    tmp_path: Path, database: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    with psycopg.connect(database.url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("create database guarded")
    (tmp_path / "server").mkdir()
    guarded = database.url.replace("/postgres", "/guarded")
    server = MLflowServer(guarded, tmp_path / "server", log_in=True)
    try:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
        start = time.monotonic()
        refused = paredown(tmp_path, *SMALL, f"tracking.uri={server.url}")
        assert time.monotonic() - start < 60  # a server that is away would be waited for
        assert refused.returncode == 2
        assert "error: tracking.uri must name a store that answers" in refused.stderr
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "not-a-secret")
        done = paredown(tmp_path, *SMALL, f"tracking.uri={server.url}")
        assert done.returncode == 0, done.stderr
        from mlflow import MlflowClient

        client = MlflowClient(server.url)
        experiment = client.get_experiment_by_name("paredown").experiment_id
        (run,) = client.search_runs([experiment])
        assert run.info.status == "FINISHED"
        assert client.list_artifacts(run.info.run_id, "quantize")
    finally:
        server.stop()


def test_latency_can_wait_for_the_end_of_a_sweep(tmp_path: Path) -> None:
    """Every file is timed then, fetched from MLflow, and all results are completed."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    asked = ["measure.latency=deferred", "prune.amount=0.3,0.5", "hydra/launcher=joblib"]
    done = paredown(tmp_path, "-m", *SMALL, *asked, "hydra.sweep.dir=sweep")
    assert done.returncode == 0, done.stderr
    assert "timing the files of 2 jobs" in done.stderr
    assert "Warning" not in done.stderr  # of Hydra, at every start of a job
    runs = [run for run in runs_of(tmp_path) if "mlflow.parentRunId" in run.data.tags]
    assert len(runs) == 2
    results = [json.loads(file.read_text()) for file in tmp_path.glob("sweep/*/result.json")]
    for run in runs:
        metrics, (result,) = (
            run.data.metrics,
            (r for r in results if r["run_id"] == run.info.run_id),
        )
        assert run.data.tags["latency"] == "deferred"
        assert metrics["baseline/speedup"] == 1
        for row in result["rows"]:
            assert row["latency_ms"] == metrics[f"{row['stage']}/latency_ms"] > 0
        assert metrics["latency_ms"] == pytest.approx(metrics["quantize/latency_ms"], rel=1e-3)
    again = paredown(tmp_path, "-m", *SMALL, *asked, "hydra.sweep.dir=sweep")
    assert again.returncode == 0
    assert "timing the files" not in again.stderr


def test_a_search_by_speed_refuses_to_wait_for_latency(tmp_path: Path) -> None:
    done = run_here(tmp_path, "-m", *SMALL, *SEARCH, "measure.latency=deferred")
    assert done.returncode == 2
    assert "measure.latency must be now where speedup is searched" in done.stderr


def test_a_launcher_that_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_module, "find_spec", lambda name: None)
    target = "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher"
    with pytest.raises(ConfigError, match=r"got 'ray'; python -m pip install .*'\.\[ray\]'"):
        sweep_module._require_launcher(target)
    sweep_module._require_launcher("hydra._internal.core_plugins.basic_launcher.BasicLauncher")
