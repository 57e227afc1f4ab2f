"""What many trials cost on PostgreSQL: the real study and tracking code, an instant objective.

    python benchmarks/scale.py [trials ...]        100, 1,000 and 10,000 if left out

Starts PostgreSQL of its own. First trials a second with 1, 2 and 4 workers, each in a study of 200
trials; then two workers fill one study up to each size, and there pick.py, report.py and one query
of MLflow's are timed, and the database is weighed. Every run logs what a real run does. A million
is predicted by a straight line through the two largest sizes.
"""

import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import ROOT, keep, setting
from optuna.distributions import FloatDistribution
from pick_rows import template

from paredown.tracking import Tracking

sys.path.insert(0, str(ROOT / "tests"))
from servers import PostgreSQL

WORKERS, BATCH = (1, 2, 4), 200
RATE = "trials_a_second"


def work(url: str, studies: str, name: str, folder: str, total: int, logged: Any) -> None:
    """Ask, log and tell until a study has its trials."""
    from hydra_plugins.paredown_sweeper._config import ParetoConf
    from hydra_plugins.paredown_sweeper._outcome import Outcome
    from hydra_plugins.paredown_sweeper._space import Space
    from hydra_plugins.paredown_sweeper._study import SharedStudy

    params, metrics, tags = logged
    swept = {"prune.amount": FloatDistribution(0.1, 0.9), "distill.alpha": FloatDistribution(0, 1)}
    settings = ParetoConf(
        n_trials=total, n_jobs=1, sampler="random", storage=studies, study_name=name, enqueue=[]
    )
    objectives = {"accuracy": "maximize", "size_mb": "minimize"}
    identity = {"hydra.sweeper.objectives": objectives}
    space, place = Space({}, swept, tuple(swept)), Path(folder)
    shared = SharedStudy(settings, space, objectives, place, identity, None, None)
    tracker = Tracking(url, name, None, None).connect()
    while not shared.is_done():
        for trial in shared.ask():
            amount = trial.params["prune.amount"]
            own = {"accuracy": 1 - amount**4, "size_mb": 10 * (1 - amount) ** 2}
            asked = {name: str(value) for name, value in trial.params.items()}
            with tracker.run(f"trial{trial.number}", place, tags=tags) as run:
                run.log(params={**params, **asked}, metrics={**metrics, **own})
            shared.tell(trial, Outcome(metrics=own, baseline=own, seconds=0.0))


def fill(
    server: PostgreSQL, name: str, folder: Path, total: int, workers: int, logged: Any
) -> float:
    """Let workers fill a study; give the seconds."""
    folder.mkdir(exist_ok=True)
    spawn = multiprocessing.get_context("spawn")
    given = (server.url, server.studies, name, str(folder), total, logged)
    start = time.perf_counter()
    made = [spawn.Process(target=work, args=given) for _ in range(workers)]
    for process in made:
        process.start()
    for process in made:
        process.join()
        assert process.exitcode == 0
    return time.perf_counter() - start


def clock(command: list[str], code: int) -> float:
    """Time a command that must end with an exit code."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return time.perf_counter() - start


def query(url: str, experiment: str) -> float:
    """Time what the browser's run table asks for: the hundred most accurate runs."""
    tracker = Tracking(url, experiment, None, None).connect()
    start = time.perf_counter()
    found = tracker.client.search_runs(
        [tracker.experiment_id], order_by=["metrics.accuracy DESC"], max_results=100
    )
    assert found
    return time.perf_counter() - start


def weigh(url: str) -> float:
    """Give the size of the database, in MB of 1e6 bytes."""
    from sqlalchemy import create_engine, text

    with create_engine(url).connect() as connection:
        return float(connection.execute(text("select pg_database_size('postgres')")).scalar()) / 1e6


def predict(rows: list[dict[str, float]], trials: float = 1e6) -> dict[str, float]:
    """Follow each figure from the two largest sizes in a straight line; a rate by its inverse.

    A rate holds for the middle of what was filled since the size before.
    """
    first, before, last = ({"trials": 0.0}, *rows)[-3:]
    found = {"trials": trials}
    for name in last.keys() - {"trials", RATE}:
        slope = (last[name] - before[name]) / (last["trials"] - before["trials"])
        found[name] = last[name] + slope * (trials - last["trials"])
    early, late = (before["trials"] + first["trials"]) / 2, (last["trials"] + before["trials"]) / 2
    slope = (1 / last[RATE] - 1 / before[RATE]) / (late - early)
    found[RATE] = 1 / (1 / last[RATE] + slope * (trials - late))
    return found


def main() -> None:
    """Measure, print and keep."""
    sizes = [int(each) for each in sys.argv[1:]] or [100, 1_000, 10_000]
    about = setting("mlflow", "optuna", "sqlalchemy", "psycopg")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        data = template(scratch)
        logged = dict(data.params), dict(data.metrics), dict(data.tags)
        logged[2].pop("mlflow.runName")
        (scratch / "pg").mkdir()
        server = PostgreSQL(scratch / "pg")
        url = server.url
        try:
            rates = {}
            fill(server, "warm", scratch / "warm", 4, 1, logged)  # makes the tables
            for workers in WORKERS:
                study = f"workers{workers}"
                one_each = f"start{workers}"
                start = fill(server, one_each, scratch / one_each, workers, workers, logged)
                spent = fill(server, study, scratch / study, BATCH, workers, logged)
                rates[workers] = BATCH / max(spent - start, 1e-9)
                print(f"{workers} workers: {rates[workers]:.1f} trials/s", flush=True)
            rows = []
            had = 0
            for size in sizes:
                spent = fill(server, "big", scratch / "big", size, 2, logged)
                track = [f"tracking.uri={url}", "tracking.experiment=big"]
                row = {
                    "trials": size,
                    RATE: (size - had) / spent,
                    "pick_s": clock([str(ROOT / "pick.py"), *track, "budget.size_mb=1e-9"], 3),
                    "report_s": clock(
                        [str(ROOT / "report.py"), *track, f"report.folder={scratch}/report"], 0
                    ),
                    "query_s": query(url, "big"),
                    "database_mb": weigh(url),
                }
                rows.append(row)
                had = size
                print(json.dumps(row), flush=True)
        finally:
            server.stop()
    million = predict(rows)
    print(json.dumps(million))
    keep("scale", about, {"workers": rates, "sizes": rows, "predicted": million})


if __name__ == "__main__":
    main()
